extlinks = {"live": ("https://nb.example/notebooks/%s", "%s")}
thebe_config = {"binderUrl": "https://nb.example"}
