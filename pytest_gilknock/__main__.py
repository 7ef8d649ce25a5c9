"""``python -m pytest_gilknock``"""

import sys

from pytest_gilknock.cli import main

sys.exit(main())
