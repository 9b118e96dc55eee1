// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_TUNING_H_
#define NMPACK_DELEGATE_TUNING_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

struct xnn_subgraph;

namespace nmpack {

// A tuning table: what layers took on some machine, and what else XNNPACK is to plan with. docs/tuning.md has its format.
// It changes what is chosen, never what is computed.
class Tuning {
 public:
  ~Tuning();

  // The table in a text, or null and why it is none. Whatever the text is, nothing else happens.
  static std::unique_ptr<const Tuning> Parse(const char* text, size_t size, std::string* why);

  // The table in a file.
  static std::unique_ptr<const Tuning> Read(const std::string& path, std::string* why);

  // Why the table does not hold for this library, this machine and so many threads; empty if it does.
  std::string Refuse(int threads) const;

  // Lets the runtimes of a subgraph be planned with it. Returns why it is not, or an empty string.
  std::string Apply(xnn_subgraph* subgraph) const;

 private:
  struct Content;
  explicit Tuning(std::unique_ptr<const Content> content);

  const std::unique_ptr<const Content> content_;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_TUNING_H_
