"""The pages, the APIs and the public edge: everything served over HTTP except the notebooks themselves."""
