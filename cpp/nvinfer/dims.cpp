#include "nvinfer/dims.hpp"

namespace fasttrt::nvinfer {

std::string Dims::str() const {
  if (rank_ < 0) return "(unknown rank)";
  std::string text = "(";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string((*this)[i]);
  }
  return text + (rank_ == 1 ? ",)" : ")");
}

}  // namespace fasttrt::nvinfer
