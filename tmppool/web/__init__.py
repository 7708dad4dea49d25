"""What visitors, programs and operators reach over HTTP, besides the notebooks themselves."""
