"""A notebook for one visitor, for an hour, most often without a network. Options on the command line win."""

c = get_config()  # noqa: F821

c.ServerApp.ip = "0.0.0.0"  # noqa: S104
c.ServerApp.port_retries = 0  # another port would never be found
c.ServerApp.open_browser = False
c.ServerApp.allow_remote_access = True  # the visitor's Host header is the proxy's
c.ServerApp.quit_button = False
c.ServerApp.terminals_enabled = True
c.FileContentsManager.delete_to_trash = False

# No pop-ups, and nothing that phones out.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.LanguageServerManager.autodetect = False  # there are none
