"""``tmppool check-links``: the links to a service in a site's sources or built pages, and what is wrong with them."""
