"""`python -m nsdlib` is the command line tool."""

import sys

from nsdlib.cli import main

sys.exit(main())
