// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_ARGUMENTS_H_
#define NMPACK_DELEGATE_RUN_ARGUMENTS_H_

#include <string>
#include <utility>
#include <vector>

namespace nmpack {

// The shape of an input; `name` counts where `named`.
struct InputShape {
  bool named = false;
  std::string name;
  std::vector<int> sizes;
};

struct Arguments {
  bool help = false;
  std::string graph;
  std::string runtime;
  std::string delegate;
  std::vector<std::pair<std::string, std::string>> delegate_options;
  std::string profile;
  std::vector<std::string> inputs;
  std::vector<InputShape> shapes;
  std::string output_dir;
  int num_threads = 1;
  int warmup_runs = 0;
  int num_runs = 1;
  bool print_times = false;
  bool json = false;
};

extern const char kHelp[];

// Throws Failure for anything that kHelp does not say.
Arguments ParseArguments(int argc, char** argv);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_ARGUMENTS_H_
