// SPDX-License-Identifier: BSD-3-Clause

#include "machine.h"

#include <elf.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "Vcv32e40p_top___024root.h"

namespace {

std::vector<uint8_t> read_file(const std::string &path) {
  FILE *file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    throw Failure("cannot open " + path + ": " + std::strerror(errno));
  }
  std::vector<uint8_t> bytes;
  uint8_t block[1 << 16];
  size_t got;
  while ((got = std::fread(block, 1, sizeof block, file)) > 0 && bytes.size() <= 2 * Machine::kBytes) {
    bytes.insert(bytes.end(), block, block + got);
  }
  std::fclose(file);
  return bytes;
}

uint64_t parse_number(const char *option, const char *text) {
  char *end;
  errno = 0;
  const uint64_t value = std::strtoull(text, &end, 0);
  if (*text < '0' || *text > '9' || *end != '\0' || errno != 0) {
    throw Failure(std::string("expected a number after ") + option + ", got " + text);
  }
  return value;
}

uint32_t parse_count(const char *option, const char *text, uint32_t most) {
  const uint64_t value = parse_number(option, text);
  if (value < 1 || value > most) {
    throw Failure(std::string("expected 1 to ") + std::to_string(most) + " after " + option + ", got " + text);
  }
  return static_cast<uint32_t>(value);
}

}  // namespace

double sc_time_stamp() { return 0; }

Options parse_options(int count, char **words) {
  Options options;
  for (int i = 1; i < count; i++) {
    const std::string word = words[i];
    if (word.rfind("--", 0) != 0) {
      if (!options.program.empty()) {
        throw Failure("expected one program, got " + options.program + " and " + word);
      }
      options.program = word;
      continue;
    }
    if (i + 1 == count) {
      throw Failure("expected a number after " + word + ", got nothing");
    }
    const char *value = words[++i];
    if (word == "--cycles") {
      options.cycles = parse_number("--cycles", value);
    } else if (word == "--cores") {
      options.cores = parse_count("--cores", value, 8);
    } else if (word == "--banks") {
      options.banks = parse_count("--banks", value, 1024);
    } else if (word == "--instruction-stalls") {
      options.instruction_stalls = parse_number("--instruction-stalls", value);
    } else if (word == "--data-stalls") {
      options.data_stalls = parse_number("--data-stalls", value);
    } else if (word == "--interrupts") {
      options.interrupts = parse_number("--interrupts", value);
    } else {
      throw Failure("expected an option of mcu/rtl/machine.h, got " + word);
    }
  }
  if (options.program.empty()) {
    throw Failure("expected a program, got none");
  }
  return options;
}

Machine::Machine(const std::string &program) : memory_(kBytes) {
  const std::vector<uint8_t> file = read_file(program);
  try {
    load_segments(file);
  } catch (const Failure &failure) {
    throw Failure(program + ": " + failure.what());
  }
}

void Machine::load_segments(const std::vector<uint8_t> &file) {
  Elf32_Ehdr header;
  if (file.size() < sizeof header) {
    throw Failure("expected an ELF file, got " + std::to_string(file.size()) + " bytes");
  }
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS32 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_RISCV || header.e_type != ET_EXEC) {
    throw Failure("expected a program for 32-bit RISC-V, got another file");
  }
  entry_ = header.e_entry;
  for (uint32_t i = 0; i < header.e_phnum; i++) {
    Elf32_Phdr segment;
    const uint64_t place = uint64_t{header.e_phoff} + uint64_t{i} * sizeof segment;
    if (place + sizeof segment > file.size()) {
      throw Failure("expected " + std::to_string(header.e_phnum) + " segments, got a file that ends before");
    }
    std::memcpy(&segment, &file[place], sizeof segment);
    if (segment.p_type != PT_LOAD || segment.p_filesz == 0) {
      continue;
    }
    const uint32_t offset = segment.p_paddr - kBase;
    if (uint64_t{segment.p_offset} + segment.p_filesz > file.size() || segment.p_paddr < kBase ||
        uint64_t{offset} + segment.p_filesz > kBytes) {
      throw Failure("expected segments inside the file and the 64 MiB from 0x80000000, got another");
    }
    std::memcpy(&memory_[offset], &file[segment.p_offset], segment.p_filesz);
  }
  if (entry_ < kBase || entry_ - kBase >= kBytes) {
    throw Failure("expected an entry in the 64 MiB from 0x80000000, got another");
  }
}

void Machine::store(uint32_t address, uint32_t value, uint32_t enabled, const Counters &now) {
  if (is_register(address)) {
    store_register(address, value, now);
    return;
  }
  const uint32_t offset = (address - kBase) & ~3u;
  if (offset >= kBytes) {
    refuse("store to", address);
  }
  for (uint32_t byte = 0; byte < 4; byte++) {
    if ((enabled >> byte & 1) != 0) {
      memory_[offset + byte] = static_cast<uint8_t>(value >> (8 * byte));
    }
  }
}

void Machine::store_register(uint32_t address, uint32_t value, const Counters &now) {
  switch (address - kRegisters) {
    case 0:
      std::putchar(static_cast<int>(value & 0xff));
      break;
    case 4:
      status_ = value;
      ended_ = true;
      break;
    case 8:
      if (value == 0) {
        if (begun_.size() == 1024) {
          throw Failure("expected at most 1024 nested regions, got more");
        }
        begun_.push_back(now);
        break;
      }
      if (begun_.empty()) {
        throw Failure("expected region " + std::to_string(value) + " to be begun before it ends");
      }
      std::fprintf(stderr,
                   "{\"region\": %" PRIu32 ", \"cycles\": %" PRIu64 ", \"instructions\": %" PRIu64
                   ", \"loads\": %" PRIu64 ", \"stores\": %" PRIu64 ", \"conflicts\": %" PRIu64 "}\n",
                   value, now.cycles - begun_.back().cycles, now.instructions - begun_.back().instructions,
                   now.loads - begun_.back().loads, now.stores - begun_.back().stores,
                   now.conflicts - begun_.back().conflicts);
      begun_.pop_back();
      break;
    default:
      refuse("store to", address);
  }
}

void Machine::report(const Counters &total) const {
  std::fflush(stdout);
  std::fprintf(stderr,
               "{\"exit\": %" PRIu32 ", \"cycles\": %" PRIu64 ", \"instructions\": %" PRIu64 ", \"loads\": %" PRIu64
               ", \"stores\": %" PRIu64 ", \"conflicts\": %" PRIu64 "}\n",
               status_, total.cycles, total.instructions, total.loads, total.stores, total.conflicts);
}

void Machine::refuse(const char *what, uint32_t address) {
  char text[100];
  std::snprintf(text, sizeof text, "the program made a %s 0x%08" PRIx32 ", where nothing is", what, address);
  throw Failure(text);
}

void reset(Vcv32e40p_top &core, uint32_t entry, uint32_t hart) {
  core.pulp_clock_en_i = 1;
  core.scan_cg_en_i = 0;
  core.boot_addr_i = entry;
  core.mtvec_addr_i = 0;
  core.dm_halt_addr_i = 0;
  core.dm_exception_addr_i = 0;
  core.hart_id_i = hart;
  core.instr_gnt_i = 0;
  core.instr_rvalid_i = 0;
  core.data_gnt_i = 0;
  core.data_rvalid_i = 0;
  core.irq_i = 0;
  core.debug_req_i = 0;
  core.fetch_enable_i = 1;
  core.rst_ni = 0;
  for (int edge = 0; edge < 10; edge++) {
    core.clk_i = edge & 1;
    core.eval();
  }
  core.clk_i = 0;
  core.rst_ni = 1;
  core.eval();
}

bool retires(const Vcv32e40p_top &core) { return core.rootp->cv32e40p_top__DOT__core_i__DOT__mhpmevent_minstret; }

int run_testbench(int count, char **words, void (*testbench)(const Options &options)) {
  try {
    testbench(parse_options(count, words));
    return 0;
  } catch (const Failure &failure) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
  }
}
