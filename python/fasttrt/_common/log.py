"""The logger of fasttrt; TensorRT's own messages have another one, see `_library.tensorrt_log`."""

import logging

logger = logging.getLogger("fasttrt")
