"""dldoctor: finds, before the run and while it starts, what would make a PyTorch training fail or go wrong.

The public names are listed in `__init__.pyi` and imported on first use, so that the command line starts fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
