"""The messages of Triton's gRPC service, and of gRPC's health service."""

from fasttrt._serving.config_schema import CONFIG_ENUMS, CONFIG_MESSAGES
from fasttrt._serving.protobuf_schema import Schema

_MESSAGES = """
ServerLiveRequest
ServerLiveResponse
  live 1 bool
ServerReadyRequest
ServerReadyResponse
  ready 1 bool
ModelReadyRequest
  name 1 string
  version 2 string
ModelReadyResponse
  ready 1 bool
ServerMetadataRequest
ServerMetadataResponse
  name 1 string
  version 2 string
  extensions 3 string*
ModelMetadataRequest
  name 1 string
  version 2 string
ModelMetadataResponse
  name 1 string
  versions 2 string*
  platform 3 string
  inputs 4 TensorMetadata*
  outputs 5 TensorMetadata*
TensorMetadata
  name 1 string
  datatype 2 string
  shape 3 int64*
InferParameter
  bool_param 1 bool parameter_choice
  int64_param 2 int64 parameter_choice
  string_param 3 string parameter_choice
  double_param 4 double parameter_choice
  uint64_param 5 uint64 parameter_choice
InferTensorContents
  bool_contents 1 bool*
  int_contents 2 int32*
  int64_contents 3 int64*
  uint_contents 4 uint32*
  uint64_contents 5 uint64*
  fp32_contents 6 float*
  fp64_contents 7 double*
  bytes_contents 8 bytes*
InferInputTensor
  name 1 string
  datatype 2 string
  shape 3 int64*
  parameters 4 InferParameter^
  contents 5 InferTensorContents
InferRequestedOutputTensor
  name 1 string
  parameters 2 InferParameter^
ModelInferRequest
  model_name 1 string
  model_version 2 string
  id 3 string
  parameters 4 InferParameter^
  inputs 5 InferInputTensor*
  outputs 6 InferRequestedOutputTensor*
  raw_input_contents 7 bytes*
InferOutputTensor
  name 1 string
  datatype 2 string
  shape 3 int64*
  parameters 4 InferParameter^
  contents 5 InferTensorContents
ModelInferResponse
  model_name 1 string
  model_version 2 string
  id 3 string
  parameters 4 InferParameter^
  outputs 5 InferOutputTensor*
  raw_output_contents 6 bytes*
ModelStreamInferResponse
  error_message 1 string
  infer_response 2 ModelInferResponse
ModelConfigRequest
  name 1 string
  version 2 string
ModelConfigResponse
  config 1 ModelConfig
ModelStatisticsRequest
  name 1 string
  version 2 string
ModelStatisticsResponse
  model_stats 1 ModelStatistics*
ModelStatistics
  name 1 string
  version 2 string
  last_inference 3 uint64
  inference_count 4 uint64
  execution_count 5 uint64
  inference_stats 6 InferStatistics
  batch_stats 7 InferBatchStatistics*
  memory_usage 8 MemoryUsage*
  response_stats 9 InferResponseStatistics^
StatisticDuration
  count 1 uint64
  ns 2 uint64
InferStatistics
  success 1 StatisticDuration
  fail 2 StatisticDuration
  queue 3 StatisticDuration
  compute_input 4 StatisticDuration
  compute_infer 5 StatisticDuration
  compute_output 6 StatisticDuration
  cache_hit 7 StatisticDuration
  cache_miss 8 StatisticDuration
InferResponseStatistics
  compute_infer 1 StatisticDuration
  compute_output 2 StatisticDuration
  success 3 StatisticDuration
  fail 4 StatisticDuration
  empty_response 5 StatisticDuration
  cancel 6 StatisticDuration
InferBatchStatistics
  batch_size 1 uint64
  compute_input 2 StatisticDuration
  compute_infer 3 StatisticDuration
  compute_output 4 StatisticDuration
MemoryUsage
  type 1 string
  id 2 int64
  byte_size 3 uint64
ModelRepositoryParameter
  bool_param 1 bool parameter_choice
  int64_param 2 int64 parameter_choice
  string_param 3 string parameter_choice
  bytes_param 4 bytes parameter_choice
RepositoryIndexRequest
  repository_name 1 string
  ready 2 bool
RepositoryIndexResponse
  models 1 ModelIndex*
ModelIndex
  name 1 string
  version 2 string
  state 3 string
  reason 4 string
RepositoryModelLoadRequest
  repository_name 1 string
  model_name 2 string
  parameters 3 ModelRepositoryParameter^
RepositoryModelLoadResponse
RepositoryModelUnloadRequest
  repository_name 1 string
  model_name 2 string
  parameters 3 ModelRepositoryParameter^
RepositoryModelUnloadResponse
SystemSharedMemoryStatusRequest
  name 1 string
SystemSharedMemoryStatusResponse
  regions 1 SystemRegion^
SystemRegion
  name 1 string
  key 2 string
  offset 3 uint64
  byte_size 4 uint64
SystemSharedMemoryRegisterRequest
  name 1 string
  key 2 string
  offset 3 uint64
  byte_size 4 uint64
SystemSharedMemoryRegisterResponse
SystemSharedMemoryUnregisterRequest
  name 1 string
SystemSharedMemoryUnregisterResponse
CudaSharedMemoryStatusRequest
  name 1 string
CudaSharedMemoryStatusResponse
  regions 1 CudaRegion^
CudaRegion
  name 1 string
  device_id 2 uint64
  byte_size 3 uint64
CudaSharedMemoryRegisterRequest
  name 1 string
  raw_handle 2 bytes
  device_id 3 int64
  byte_size 4 uint64
CudaSharedMemoryRegisterResponse
CudaSharedMemoryUnregisterRequest
  name 1 string
CudaSharedMemoryUnregisterResponse
TraceSettingRequest
  settings 1 TraceValue^
  model_name 2 string
TraceSettingResponse
  settings 1 TraceValue^
TraceValue
  value 1 string*
LogSettingsRequest
  settings 1 LogValue^
LogSettingsResponse
  settings 1 LogValue^
LogValue
  bool_param 1 bool parameter_choice
  uint32_param 2 uint32 parameter_choice
  string_param 3 string parameter_choice
"""
SERVICE = Schema("inference", CONFIG_ENUMS, CONFIG_MESSAGES + _MESSAGES)
"""Those of ``inference.GRPCInferenceService``. Names of nested messages differ from Triton's."""
HEALTH = Schema(
    "grpc.health.v1",
    {"ServingStatus": "UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN"},
    """
HealthCheckRequest
  service 1 string
HealthCheckResponse
  status 1 ServingStatus
""",
)
"""Those of ``grpc.health.v1.Health``."""
