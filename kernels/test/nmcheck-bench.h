// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#pragma once

#include <vector>

#include "nmcheck.h"

namespace nmcheck {

// Times the micro-kernels and prints a table. Returns an exit status.
int TimeAll(const std::vector<Ukernel>& ukernels);

}  // namespace nmcheck
