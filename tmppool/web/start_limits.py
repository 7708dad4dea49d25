from tmppool.web.admission import Admission as StartLimits
from tmppool.web.admission import RefusedError

__all__ = ["RefusedError", "StartLimits"]
