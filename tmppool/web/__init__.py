"""The pages, the APIs and the public edge: all that is reached over HTTP, besides the notebooks themselves."""
