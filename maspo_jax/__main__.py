"""`python -m maspo_jax` is the command `maspo`."""

import sys

from maspo_jax.cli.main import main

sys.exit(main())
