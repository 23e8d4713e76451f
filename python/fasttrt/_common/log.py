"""The logger of fasttrt. TensorRT's messages go to another one, see `_library.tensorrt_log`."""

import logging

logger = logging.getLogger("fasttrt")
