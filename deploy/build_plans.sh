#!/bin/sh
# Copies a folder of models in Triton's layout, with a plan in place of each ONNX model.
#   build_plans.sh FROM TO
# Options of a build are read from a model's build.toml: a fasttrt.toml, as `fasttrt build --config` and
# `fasttrt tune` know it.
set -eu
from=$1 to=$2
if [ -e "$to" ]; then
  echo "build_plans.sh: $to: expected a folder that is not there yet" >&2
  exit 2
fi
cp -r "$from" "$to"
for onnx in "$to"/*/*/model.onnx; do
  [ -e "$onnx" ] || continue
  version=$(dirname "$onnx")
  plan=$version.plan
  options=$(dirname "$version")/build.toml
  set -- "$onnx" -o "$plan"
  if [ -e "$options" ]; then
    set -- "$@" --config "$options"
  fi
  fasttrt build "$@"
  rm -r "$version" # with the model's external data
  mkdir "$version"
  mv "$plan" "$version/model.plan"
done
