"""The providers of Git repositories and archives, by Binder's short names."""

ARCHIVES = ("zenodo", "figshare", "hydroshare", "dataverse", "ckan")
"""What stands behind one of these in a link names one thing, with slashes in it."""

PROVIDERS = ("gh", "gl", "git", "gist", *ARCHIVES)
