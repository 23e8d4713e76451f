"""The OpenAPI description's schemas: bodies of requests and responses."""

from typing import Any

Schema = dict[str, Any]


def array(items: Schema, **more: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": items, **more}


def record(required: str, optional: dict[str, Schema] | None = None, **fields: Schema) -> Schema:
    """Describe an object.

    Args:
        required: the names of the fields that it always has, separated by spaces.
        optional: fields whose names are no keywords of Python's.
        fields: all others.
    """
    described = {"type": "object", "properties": {**fields, **(optional or {})}}
    return described | ({"required": required.split()} if required else {})


def mapping(values: Schema) -> Schema:
    """Describe an object with any names."""
    return {"type": "object", "additionalProperties": values}


def ref(name: str) -> Schema:
    """Refer to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """Let null mean that an object is not there, as some clients send it."""
    return schema | {"type": [schema["type"], "null"]}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
_DATATYPE: Schema = {
    "type": "string",
    "enum": [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
        "FP32", "FP64", "BF16", "BYTES",
    ],
}  # fmt: skip
_LOG = record(
    "log_file log_info log_warning log_error log_verbose_level log_format",
    log_file=TEXT,
    log_info=FLAG,
    log_warning=FLAG,
    log_error=FLAG,
    log_verbose_level=COUNT,
    log_format=TEXT,
)
_SHAPE = array({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
_DATA: Schema = {"type": "array", "description": "The values, flat or nested by dimensions."}
_REGION = {
    "shared_memory_region": {"type": "string"},
    "shared_memory_byte_size": COUNT,
    "shared_memory_offset": COUNT,
}
_TENSOR = record(
    "name datatype shape",
    name=TEXT,
    datatype=TEXT,
    shape=array({"type": "integer", "minimum": -1}),
)
_DURATION = record("count ns", count=COUNT, ns=COUNT)
_PHASES = ("compute_input", "compute_infer", "compute_output")
_STATISTICS = (
    "name version last_inference inference_count execution_count inference_stats response_stats "
    "batch_stats memory_usage"
)
_INFERENCE = ("success", "fail", "queue", *_PHASES, "cache_hit", "cache_miss")

SCHEMAS: dict[str, Schema] = {
    "Error": {**record("error", error=TEXT), "additionalProperties": False},
    "ServerMetadata": record(
        "name version extensions", name=TEXT, version=TEXT, extensions=array(TEXT)
    ),
    "ModelMetadata": record(
        "name versions platform inputs outputs",
        name=TEXT,
        versions=array(TEXT),
        platform=TEXT,
        inputs=array(_TENSOR),
        outputs=array(_TENSOR),
    ),
    "ModelConfig": {
        **record("name platform backend max_batch_size input output", name=TEXT, platform=TEXT),
        "description": "Triton's ModelConfig as JSON.",
    },
    "ModelStatistics": record(
        "model_stats",
        model_stats=array(
            record(
                _STATISTICS,
                name=TEXT,
                version=TEXT,
                last_inference=COUNT,
                inference_count=COUNT,
                execution_count=COUNT,
                inference_stats=record(" ".join(_INFERENCE), dict.fromkeys(_INFERENCE, _DURATION)),
                response_stats={"type": "object"},
                batch_stats=array(
                    record(
                        "batch_size " + " ".join(_PHASES),
                        {"batch_size": COUNT, **dict.fromkeys(_PHASES, _DURATION)},
                    )
                ),
                memory_usage=array(record("type id byte_size", id=COUNT, byte_size=COUNT)),
            )
        ),
    ),
    "InferRequest": record(
        "inputs",
        id=TEXT,
        inputs=array(
            record(
                "name datatype shape",
                name=TEXT,
                datatype=_DATATYPE,
                shape=_SHAPE,
                data=_DATA,
                parameters=record("", binary_data_size=COUNT, **_REGION),
            )
        ),
        outputs=array(
            record(
                "name",
                name=TEXT,
                parameters=record("", binary_data=FLAG, classification=COUNT, **_REGION),
            )
        ),
        parameters=record("", binary_data_output=FLAG, priority=COUNT, timeout=COUNT),
    ),
    "InferResponse": record(
        "model_name model_version outputs",
        id=TEXT,
        model_name=TEXT,
        model_version=TEXT,
        outputs=array(
            record("name datatype shape", name=TEXT, datatype=_DATATYPE, shape=_SHAPE, data=_DATA)
        ),
    ),
    "IndexRequest": record("", ready=FLAG),
    "Index": array(record("name", name=TEXT, version=TEXT, reason=TEXT, state={"type": "string"})),
    "LoadRequest": record(
        "",
        parameters={
            **nullable(
                record("", config={"type": "string", "description": "A ModelConfig as JSON."})
            ),
            "description": "Also file:PATH, in base64, where the server allows files.",
        },
    ),
    "UnloadRequest": record("", parameters=nullable(record("", unload_dependents=FLAG))),
    "SystemRegion": record("key byte_size", key=TEXT, offset=COUNT, byte_size=COUNT),
    "TraceSettings": record(
        "trace_file trace_level trace_rate trace_count log_frequency trace_mode",
        trace_file=TEXT,
        trace_level=array(TEXT),
        trace_rate=TEXT,
        trace_count=TEXT,
        log_frequency=TEXT,
        trace_mode=TEXT,
    ),
    "TraceSettingsChange": record(
        "",
        trace_level=nullable(array({"type": "string", "enum": ["OFF", "TIMESTAMPS"]})),
        trace_rate=nullable(COUNT),
        trace_count=nullable({"type": "integer", "minimum": -1}),
    ),
    "LogSettings": _LOG,
    "LogSettingsChange": {key: value for key, value in _LOG.items() if key != "required"},
    "SystemRegions": array(
        record("name key offset byte_size", name=TEXT, key=TEXT, offset=COUNT, byte_size=COUNT)
    ),
    "CudaRegion": record(
        "raw_handle device_id byte_size",
        raw_handle=record("b64", b64=TEXT),
        device_id=COUNT,
        byte_size=COUNT,
    ),
    "CudaRegions": array(
        record("name device_id byte_size", name=TEXT, device_id=COUNT, byte_size=COUNT)
    ),
    "Overview": record(
        "server started uptime_seconds ready model_control latency_bounds_us models gpus",
        server=record("name version", name=TEXT, version=TEXT),
        started={"type": "number", "description": "Seconds since 1970."},
        uptime_seconds=NUMBER,
        ready=FLAG,
        model_control={"type": "string", "enum": ["none", "poll", "explicit"]},
        latency_bounds_us=array(NUMBER, description="The upper bounds of latency's buckets."),
        models=array(ref("ModelOverview")),
        gpus=array(ref("Gpu")),
    ),
    "ModelOverview": {
        **record(
            "name version state reason",
            name=TEXT,
            version={"type": "string", "description": "Empty where none is known."},
            state={
                "type": "string",
                "enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE", "UNLOADED"],
            },
            reason=TEXT,
            platform=TEXT,
            device=TEXT,
            in_memory={"type": "boolean", "description": "False: the next request loads it."},
            max_batch_size=COUNT,
            load_seconds=NUMBER,
            requests={"type": "integer", "description": "Successful ones."},
            failures=mapping(COUNT),
            rows=COUNT,
            executions=COUNT,
            pending={"type": "integer", "description": "Requests that wait now."},
            queue_ns=COUNT,
            request_ns=COUNT,
            latency=array(COUNT, description="Successful requests by bucket; the last has no end."),
            batch_sizes=mapping({"type": "integer", "description": "Runs."}),
            memory=mapping(COUNT),
            last_inference={"type": "integer", "description": "Milliseconds since 1970; 0: none."},
        ),
        "description": "Sums since it was loaded; of models that are not, only the state.",
    },
    "Gpu": record(
        "uuid name",
        uuid=TEXT,
        name=TEXT,
        gpu_utilization=NUMBER,
        gpu_memory_used_bytes=COUNT,
        gpu_memory_total_bytes=COUNT,
        gpu_power_usage=NUMBER,
        gpu_power_limit=NUMBER,
        energy_consumption=NUMBER,
    ),
}
