// SPDX-License-Identifier: BSD-3-Clause
//
// A plugin for qemu-riscv64 that counts the instructions a program executes between two markers, by class.
//
//   qemu-riscv64 -plugin libinsncount.so,output=counts.json -L SYSROOT nmpack-run ...
//
// Markers are the HINT instructions of delegate/run/region.h. Counts are exact and the same in every run of
// a program with one thread; with several threads additions may be lost.
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// QEMU's plugin interface, versions 1 and 2. Distributions ship QEMU without its header.
typedef uint64_t qemu_plugin_id_t;
typedef struct {
  const char* target_name;
  struct {
    int min;
    int cur;
  } version;
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb*));
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void*), void* data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
extern struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index);
extern const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn* insn, void (*callback)(unsigned, void*),
                                                   int flags, void* data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn* insn, int operation, void* counter,
                                                       uint64_t addend);
enum { kNoRegisters = 0, kAddInline = 0, kNewestVersion = 2 };

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum kind {
  kScalar,
  kBranch,
  kLoad,
  kStore,
  kFloat,
  kFloatLoad,
  kFloatStore,
  kVectorConfig,
  kVectorLoad,
  kVectorStore,
  kVectorMultiplyAdd,
  kVectorOther,
  kClasses
};
static const char* const kNames[kClasses] = {
    "scalar",      "branch",        "load",        "store",        "float",               "float_load",
    "float_store", "vector_config", "vector_load", "vector_store", "vector_multiply_add", "vector_other"};

enum { kRegions = 256, kNoRegion = -1 };
static uint64_t executed[kClasses];  // since the program began
static uint64_t at_begin[kClasses];  // when the open region began
static struct {
  uint64_t runs;
  uint64_t executed[kClasses];
} regions[kRegions];
static int open_region = kNoRegion;
static char output[4096];

static enum kind KindOf16(uint32_t w) {
  const uint32_t funct3 = w >> 13 & 7;
  switch (w & 3) {
    case 1:
      return funct3 >= 5 ? kBranch : kScalar;
    case 2:
      // The jumps to a register share their code with c.mv and c.add, which have a second operand.
      if (funct3 == 4) return (w >> 2 & 31) == 0 ? kBranch : kScalar;
      break;
    default:
      if (funct3 == 4) return kScalar;
  }
  if (funct3 == 0) return kScalar;
  if (funct3 <= 3) return funct3 == 1 ? kFloatLoad : kLoad;
  return funct3 == 5 ? kFloatStore : kStore;
}

static enum kind KindOfVector(uint32_t w) {
  const uint32_t funct3 = w >> 12 & 7, funct6 = w >> 26;
  const bool widening = funct6 >= 0x3c;
  switch (funct3) {
    case 7:
      return kVectorConfig;
    case 1:  // two vectors of floats, or a vector and a scalar
    case 5:
      return (funct6 >= 0x28 && funct6 <= 0x2f) || widening ? kVectorMultiplyAdd : kVectorOther;
    case 2:  // the same of integers
    case 6:
      return (funct6 >= 0x29 && funct6 <= 0x2f && (funct6 & 1)) || widening ? kVectorMultiplyAdd : kVectorOther;
    default:
      return kVectorOther;
  }
}

static enum kind KindOf32(uint32_t w) {
  const uint32_t width = w >> 12 & 7;
  const bool vector = width == 0 || width >= 5;  // of a load or store of the floating-point opcodes
  switch (w & 0x7f) {
    case 0x03:
      return kLoad;
    case 0x23:
      return kStore;
    case 0x07:
      return vector ? kVectorLoad : kFloatLoad;
    case 0x27:
      return vector ? kVectorStore : kFloatStore;
    case 0x43:
    case 0x47:
    case 0x4b:
    case 0x4f:
    case 0x53:
      return kFloat;
    case 0x57:
      return KindOfVector(w);
    case 0x63:
    case 0x67:
    case 0x6f:
      return kBranch;
    default:
      return kScalar;
  }
}

static void AtMarker(unsigned cpu, void* data) {
  (void)cpu;
  const int immediate = (int)(intptr_t)data, region = immediate & 0xff;
  if ((immediate & 0xf00) == 0x400) {
    open_region = region;
    memcpy(at_begin, executed, sizeof(executed));
  } else if (open_region == region) {
    for (int c = 0; c < kClasses; c++) regions[region].executed[c] += executed[c] - at_begin[c];
    regions[region].runs++;
    open_region = kNoRegion;
  }
}

static void AtTranslation(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(block, i);
    const size_t size = qemu_plugin_insn_size(insn);
    uint32_t word = 0;
    memcpy(&word, qemu_plugin_insn_data(insn), size < sizeof(word) ? size : sizeof(word));
    const uint32_t immediate = word >> 20;
    const bool hint = size == 4 && (word & 0xfffff) == 0x02013;  // slti x0, x0, immediate
    if (hint && ((immediate & 0xf00) == 0x400 || (immediate & 0xf00) == 0x500)) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, AtMarker, kNoRegisters, (void*)(intptr_t)immediate);
    } else {
      uint64_t* counter = &executed[size == 2 ? KindOf16(word) : KindOf32(word)];
      qemu_plugin_register_vcpu_insn_exec_inline(insn, kAddInline, counter, 1);
    }
  }
}

static void AtExit(qemu_plugin_id_t id, void* data) {
  (void)id;
  (void)data;
  FILE* file = output[0] == '\0' ? stderr : fopen(output, "w");
  if (file == NULL) {
    perror(output);
    return;
  }
  fprintf(file, "{\"schema\":1,\"regions\":[");
  const char* separator = "\n";
  for (int r = 0; r < kRegions; r++) {
    if (regions[r].runs == 0) continue;
    uint64_t total = 0;
    for (int c = 0; c < kClasses; c++) total += regions[r].executed[c];
    fprintf(file, "%s{\"region\":%d,\"runs\":%" PRIu64 ",\"instructions\":%" PRIu64 ",\"classes\":{", separator, r,
            regions[r].runs, total);
    for (int c = 0; c < kClasses; c++) {
      fprintf(file, "%s\"%s\":%" PRIu64, c == 0 ? "" : ",", kNames[c], regions[r].executed[c]);
    }
    fprintf(file, "}}");
    separator = ",\n";
  }
  fprintf(file, "]}\n");
  if (file != stderr) fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                               char** argv) {
  if (strcmp(info->target_name, "riscv64") != 0 || info->version.cur > kNewestVersion) {
    fprintf(stderr, "insncount: expected qemu-riscv64 with plugin interface 1 or 2 (QEMU 4.2 to 8.2), got %s with %d\n",
            info->target_name, info->version.cur);
    return -1;
  }
  for (int i = 0; i < argc; i++) {
    if (strncmp(argv[i], "output=", 7) != 0 || strlen(argv[i] + 7) >= sizeof(output)) {
      fprintf(stderr, "insncount: expected output=FILE, got '%s'\n", argv[i]);
      return -1;
    }
    strcpy(output, argv[i] + 7);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, AtTranslation);
  qemu_plugin_register_atexit_cb(id, AtExit, NULL);
  return 0;
}
