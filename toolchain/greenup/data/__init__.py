"""The data stage: a data set by name or path becomes raw windows in three parts.

`files`, `archive`, `own` find files; `ts`, `table`, `arrays` read them into recordings; `split` divides them;
`windows` cuts them by the runtime's own code; `stage` puts the steps together; `identity` names the outcome.
"""

from __future__ import annotations

from greenup.data.dataset import DataSet, Windows
from greenup.data.stage import fingerprint, load, locate

__all__ = ["DataSet", "Windows", "fingerprint", "load", "locate"]
