// The shapes of an engine's outputs over all of its profiles.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/io_tensor.hpp"

namespace fasttrt::engine {

// The outputs' shapes for shapes that a profile takes, one an input.
using InferShapes = std::function<std::vector<Dims>(std::span<const Dims>)>;

// TensorRT reports the outputs' shapes in the first profile, so a dimension that differs in others
// may look fixed. This sets it to -1, having asked for the shapes at the ends of profiles that
// reach beyond those known.
void open_output_shapes(std::span<const IoTensor> inputs, std::span<IoTensor> outputs,
                        const InferShapes& infer);

}  // namespace fasttrt::engine
