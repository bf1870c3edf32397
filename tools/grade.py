"""Grade a folder of notebooks, or of `my_transformer.py` files, with the checks of the exercises.

    python tools/grade.py SUBMISSIONS --out REPORT

`notebooks/teachers.md` says how a folder of submissions looks and what the report holds. What may go wrong in a
submission becomes a line in the report and never ends the run. This guards against accidents; it is no sandbox against
malice: for that, run it in a container, as the page says.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the course, in place of tools/
    from tools.grading.command import main

    sys.exit(main())
