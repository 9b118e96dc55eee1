// SPDX-License-Identifier: BSD-3-Clause
//
// Extensions of Spike, all of which run RV32IMC through the model of the pipeline: nm_base is CV32E40P without PULP,
// nm_base_vector lets Spike's vector instructions be counted, nm_xcv is CV32E40P with COREV_PULP, nm_xcv_gather has the
// gather instruction, too. They need the options that nmpack.mcu.spike gives.

#include "instructions.h"

namespace nm {

namespace {

// Parts of an extension, to be added.
constexpr uint32_t kBase = 0;
constexpr uint32_t kVectors = 1;
constexpr uint32_t kXcv = 2;
constexpr uint32_t kGathers = 4;

class Extension : public extension_t {
 public:
  Extension(const char *name, uint32_t parts) : name_(name), parts_(parts) {}

  const char *name() const override { return name_; }

  std::vector<disasm_insn_t *> get_disasms(const processor_t *) override { return {}; }

  // Called once, when Spike makes its core.
  std::vector<insn_desc_t> get_instructions(const processor_t &processor) override {
    if (processor.get_id() != 0) {
      Hart::stop(std::string(name_) + " models one core, got another");
    }
    hart.reset((parts_ & kVectors) != 0);
    Instructions instructions;
    add_base(instructions);
    if ((parts_ & kXcv) != 0) {
      add_xcv_memory(instructions);
      add_xcv_arithmetic(instructions);
      add_xcv_simd(instructions);
      add_xcv_complex(instructions);
    }
    if ((parts_ & kGathers) != 0) {
      add_gather(instructions);
    }
    return instructions.list;
  }

 private:
  const char *name_;
  uint32_t parts_;
};

extension_t *make_base() { return new Extension("nm_base", kBase); }
extension_t *make_base_vector() { return new Extension("nm_base_vector", kVectors); }
extension_t *make_xcv() { return new Extension("nm_xcv", kXcv); }
extension_t *make_xcv_gather() { return new Extension("nm_xcv_gather", kXcv | kGathers); }

REGISTER_EXTENSION(nm_base, make_base)
REGISTER_EXTENSION(nm_base_vector, make_base_vector)
REGISTER_EXTENSION(nm_xcv, make_xcv)
REGISTER_EXTENSION(nm_xcv_gather, make_xcv_gather)

}  // namespace

}  // namespace nm
