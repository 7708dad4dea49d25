async def test_smoke(house):
    a = await house.ask("GET", "api/x%2Fy?a=1")
    assert a.status == 200, a
    assert a.body == b"ok"
    print(house.stranger.requests)
