// SPDX-License-Identifier: BSD-3-Clause
//
// A plugin for qemu-riscv64 that counts how often each block of instructions runs, and what it loads and stores,
// between two markers, operator by operator.
//
//   qemu-riscv64 -plugin librvvprof.so,output=profile.txt,boundary=libnmpack_delegate.so:0x5467a -L SYSROOT nmpack-run ...
//
// Markers are the HINT instructions of delegate/run/region.h. Where an instruction at file offset OFFSET of the mapped
// file NAME is about to run (boundary=NAME:OFFSET, the start of a function that runs one operator), a new segment
// begins. Memory passes a model of two caches, least recently used first out, a store allocates, no prefetch; they are
// empty when the program starts and see only what happens between markers.
//
// Counts are exact and the same in every run of a program with one thread. What is written, line by line:
//
//   nmpack-rvvprof 1
//   module ID PATH
//   block ID MODULE FILE-OFFSET BYTES-IN-HEX        a straight run of instructions; MODULE -1: not from a file
//   segment REGION ORDINAL                          ordinal 0 is what runs before the first boundary
//   run BLOCK EXECUTIONS LOADED-BYTES STORED-BYTES L1-MISSES L2-MISSES
//   end SEGMENTS THREADS
//
// python/nmpack/rvv/profile.py reads it.
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// QEMU's plugin interface, versions 1 and 2. Distributions ship QEMU without its header.
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct {
  const char* target_name;
  struct {
    int min;
    int cur;
  } version;
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, unsigned));
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb*));
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void*), void* data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
extern struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index);
extern const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* insn);
extern void* qemu_plugin_insn_haddr(const struct qemu_plugin_insn* insn);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn* insn, void (*callback)(unsigned, void*),
                                                   int flags, void* data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn* insn, int operation, void* counter,
                                                       uint64_t addend);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn* insn,
                                             void (*callback)(unsigned, qemu_plugin_meminfo_t, uint64_t, void*),
                                             int flags, int accesses, void* data);
extern unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
extern bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
enum { kNoRegisters = 0, kAddInline = 0, kReadAndWrite = 3, kNewestVersion = 2 };

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { kExecuted, kLoaded, kStored, kL1Misses, kL2Misses, kCounters };
enum { kMaxBlocks = 1 << 20, kMaxBlockBytes = 4096, kNoRegion = -1, kLineShift = 6 };

struct block {
  uint64_t counts[kCounters];    // since the program began; the first is added to by translated code
  uint64_t written[kCounters];   // of these, what is in a segment already
  uint64_t address, offset;
  struct block* next;            // in its bucket
  int module;
  uint32_t id, size;
  bool announced;
  uint8_t bytes[];
};

static struct block* buckets[1 << 16];
static struct block** blocks;
static uint32_t num_blocks, capacity;

static struct mapping {
  uintptr_t begin, end;
  uint64_t offset;
  int module;
} *mappings;
static size_t num_mappings;
static struct module {
  char* path;
  bool announced;
} *modules;
static int num_modules;

static FILE* file;
static char output[4096], boundary_name[256];
static uint64_t boundary_offset;
static int open_region = kNoRegion;
static uint64_t ordinal, num_segments, num_threads;

struct cache {
  uint64_t sets, ways, clock;
  uint64_t *lines, *ages;
};
static struct cache l1, l2;
static uint64_t last_line = UINT64_MAX;

static void Die(const char* what) {
  fprintf(stderr, "rvvprof: %s\n", what);
  exit(1);
}

static void* Allocate(size_t count, size_t size) {
  void* memory = calloc(count, size);
  if (memory == NULL) Die("out of memory");
  return memory;
}

static void MakeCache(struct cache* cache, uint64_t kib, uint64_t ways) {
  cache->ways = ways;
  cache->sets = (kib << 10 >> kLineShift) / ways;
  if (cache->sets == 0) Die("expected caches of at least one line a way");
  cache->lines = Allocate(cache->sets * ways, sizeof(uint64_t));
  cache->ages = Allocate(cache->sets * ways, sizeof(uint64_t));
  memset(cache->lines, 0xff, cache->sets * ways * sizeof(uint64_t));
}

static bool Hit(struct cache* cache, uint64_t line) {
  const uint64_t first = line % cache->sets * cache->ways;
  uint64_t oldest = first;
  cache->clock++;
  for (uint64_t way = first; way < first + cache->ways; way++) {
    if (cache->lines[way] == line) {
      cache->ages[way] = cache->clock;
      return true;
    }
    if (cache->ages[way] < cache->ages[oldest]) oldest = way;
  }
  cache->lines[oldest] = line;
  cache->ages[oldest] = cache->clock;
  return false;
}

static void AtAccess(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void* data) {
  (void)cpu;
  if (open_region == kNoRegion) return;
  uint64_t* counts = ((struct block*)data)->counts;
  const uint64_t size = UINT64_C(1) << qemu_plugin_mem_size_shift(info);
  counts[qemu_plugin_mem_is_store(info) ? kStored : kLoaded] += size;
  const uint64_t end = (address + size - 1) >> kLineShift;
  for (uint64_t line = address >> kLineShift; line <= end; line++) {
    // The line of the access before this one is the youngest already.
    if (line == last_line) continue;
    last_line = line;
    if (Hit(&l1, line)) continue;
    counts[kL1Misses]++;
    counts[kL2Misses] += !Hit(&l2, line);
  }
}

static void WriteSegment(void) {
  fprintf(file, "segment %d %" PRIu64 "\n", open_region, ordinal);
  num_segments++;
  for (uint32_t i = 0; i < num_blocks; i++) {
    struct block* block = blocks[i];
    if (memcmp(block->counts, block->written, sizeof(block->counts)) == 0) continue;
    if (block->module >= 0 && !modules[block->module].announced) {
      modules[block->module].announced = true;
      fprintf(file, "module %d %s\n", block->module, modules[block->module].path);
    }
    if (!block->announced) {
      block->announced = true;
      fprintf(file, "block %" PRIu32 " %d %" PRIu64 " ", block->id, block->module, block->offset);
      for (uint32_t b = 0; b < block->size; b++) fprintf(file, "%02x", block->bytes[b]);
      fputc('\n', file);
    }
    fprintf(file, "run %" PRIu32, block->id);
    for (int c = 0; c < kCounters; c++) fprintf(file, " %" PRIu64, block->counts[c] - block->written[c]);
    fputc('\n', file);
    memcpy(block->written, block->counts, sizeof(block->counts));
  }
}

static void AtBoundary(unsigned cpu, void* data) {
  (void)cpu;
  (void)data;
  if (open_region == kNoRegion) return;
  WriteSegment();
  ordinal++;
}

static void AtMarker(unsigned cpu, void* data) {
  (void)cpu;
  const int immediate = (int)(intptr_t)data, region = immediate & 0xff;
  if ((immediate & 0xf00) == 0x400) {
    open_region = region;
    ordinal = 0;
    for (uint32_t i = 0; i < num_blocks; i++) memcpy(blocks[i]->written, blocks[i]->counts, sizeof(blocks[i]->counts));
  } else if (open_region == region) {
    WriteSegment();
    open_region = kNoRegion;
  }
}

static int ModuleOf(const char* path) {
  for (int i = 0; i < num_modules; i++) {
    if (strcmp(modules[i].path, path) == 0) return i;
  }
  struct module* grown = realloc(modules, sizeof(*modules) * (size_t)(num_modules + 1));
  if (grown == NULL || (path = strdup(path)) == NULL) Die("out of memory");
  modules = grown;
  modules[num_modules].path = (char*)path;
  modules[num_modules].announced = false;
  return num_modules++;
}

static void ReadMappings(void) {
  FILE* maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) Die("cannot read /proc/self/maps");
  char line[8192];
  num_mappings = 0;
  while (fgets(line, sizeof(line), maps) != NULL) {
    uintptr_t begin, end;
    uint64_t offset;
    int path = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %*s %n", &begin, &end, &offset, &path) != 3) continue;
    line[strcspn(line, "\n")] = '\0';
    if (path == 0 || line[path] != '/') continue;
    struct mapping* grown = realloc(mappings, sizeof(*mappings) * (num_mappings + 1));
    if (grown == NULL) Die("out of memory");
    mappings = grown;
    mappings[num_mappings++] = (struct mapping){begin, end, offset, ModuleOf(line + path)};
  }
  fclose(maps);
}

static const struct mapping* FindMapping(uintptr_t address) {
  for (int attempt = 0; attempt < 2; attempt++) {
    for (size_t i = 0; i < num_mappings; i++) {
      if (mappings[i].begin <= address && address < mappings[i].end) return &mappings[i];
    }
    if (attempt == 0) ReadMappings();  // a library may have been loaded since
  }
  return NULL;
}

// The same code may be translated again: for another vector type, after the translations were dropped.
static struct block* FindBlock(uint64_t address, uintptr_t host, const uint8_t* bytes, uint32_t size) {
  struct block** bucket = &buckets[(address >> 1) % (sizeof(buckets) / sizeof(buckets[0]))];
  for (struct block* block = *bucket; block != NULL; block = block->next) {
    if (block->address == address && block->size == size && memcmp(block->bytes, bytes, size) == 0) return block;
  }
  if (num_blocks == kMaxBlocks) Die("the program has more blocks than are kept");
  if (num_blocks == capacity) {
    capacity = capacity == 0 ? 4096 : 2 * capacity;
    blocks = realloc(blocks, sizeof(*blocks) * capacity);
    if (blocks == NULL) Die("out of memory");
  }
  struct block* block = Allocate(1, sizeof(*block) + size);
  const struct mapping* mapping = FindMapping(host);
  block->address = address;
  block->module = mapping == NULL ? -1 : mapping->module;
  block->offset = mapping == NULL ? address : host - mapping->begin + mapping->offset;
  block->id = num_blocks;
  block->size = size;
  memcpy(block->bytes, bytes, size);
  block->next = *bucket;
  return *bucket = blocks[num_blocks++] = block;
}

static bool IsBoundary(uintptr_t host) {
  if (boundary_name[0] == '\0') return false;
  const struct mapping* mapping = FindMapping(host);
  if (mapping == NULL || host - mapping->begin + mapping->offset != boundary_offset) return false;
  return strcmp(strrchr(modules[mapping->module].path, '/') + 1, boundary_name) == 0;
}

static int MarkerOf(const struct qemu_plugin_insn* insn) {
  uint32_t word;
  if (qemu_plugin_insn_size(insn) != sizeof(word)) return 0;
  memcpy(&word, qemu_plugin_insn_data(insn), sizeof(word));
  const uint32_t immediate = word >> 20;
  const bool hint = (word & 0xfffff) == 0x02013;  // slti x0, x0, immediate
  return hint && ((immediate & 0xf00) == 0x400 || (immediate & 0xf00) == 0x500) ? (int)immediate : 0;
}

static void AtTranslation(qemu_plugin_id_t id, struct qemu_plugin_tb* translated) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(translated);
  size_t first = 0;
  for (size_t i = 0; i < n;) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(translated, i);
    const int marker = MarkerOf(insn);
    if (marker != 0) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, AtMarker, kNoRegisters, (void*)(intptr_t)marker);
      i++;
      continue;
    }
    // A straight run up to the next marker or boundary.
    uint8_t bytes[kMaxBlockBytes];
    uint32_t size = 0;
    first = i;
    if (IsBoundary((uintptr_t)qemu_plugin_insn_haddr(insn))) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, AtBoundary, kNoRegisters, NULL);  // before what is counted inline
    }
    do {
      const size_t length = qemu_plugin_insn_size(insn);
      memcpy(bytes + size, qemu_plugin_insn_data(insn), length);
      size += (uint32_t)length;
      if (++i == n) break;
      insn = qemu_plugin_tb_get_insn(translated, i);
    } while (size + 8 <= kMaxBlockBytes && MarkerOf(insn) == 0 && !IsBoundary((uintptr_t)qemu_plugin_insn_haddr(insn)));
    insn = qemu_plugin_tb_get_insn(translated, first);
    struct block* block =
        FindBlock(qemu_plugin_insn_vaddr(insn), (uintptr_t)qemu_plugin_insn_haddr(insn), bytes, size);
    qemu_plugin_register_vcpu_insn_exec_inline(insn, kAddInline, &block->counts[kExecuted], 1);
    for (size_t k = first; k < i; k++) {
      insn = qemu_plugin_tb_get_insn(translated, k);
      qemu_plugin_register_vcpu_mem_cb(insn, AtAccess, kNoRegisters, kReadAndWrite, block);
    }
  }
}

static void AtThread(qemu_plugin_id_t id, unsigned cpu) {
  (void)id;
  (void)cpu;
  num_threads++;
}

static void AtExit(qemu_plugin_id_t id, void* data) {
  (void)id;
  (void)data;
  fprintf(file, "end %" PRIu64 " %" PRIu64 "\n", num_segments, num_threads);
  if (fclose(file) != 0) fprintf(stderr, "rvvprof: %s: %s\n", output, strerror(errno));
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                               char** argv) {
  if (strcmp(info->target_name, "riscv64") != 0 || info->version.cur > kNewestVersion) {
    fprintf(stderr, "rvvprof: expected qemu-riscv64 with plugin interface 1 or 2 (QEMU 4.2 to 8.2), got %s with %d\n",
            info->target_name, info->version.cur);
    return -1;
  }
  uint64_t l1_kib = 32, l1_ways = 8, l2_kib = 512, l2_ways = 16;  // of a SpacemiT X60
  for (int i = 0; i < argc; i++) {
    if (sscanf(argv[i], "output=%4095s", output) == 1) continue;
    if (sscanf(argv[i], "boundary=%255[^:]:%" SCNx64, boundary_name, &boundary_offset) == 2) continue;
    if (sscanf(argv[i], "l1=%" SCNu64 ":%" SCNu64, &l1_kib, &l1_ways) == 2 && l1_ways != 0) continue;
    if (sscanf(argv[i], "l2=%" SCNu64 ":%" SCNu64, &l2_kib, &l2_ways) == 2 && l2_ways != 0) continue;
    fprintf(stderr,
            "rvvprof: expected output=FILE, boundary=NAME:OFFSET, l1=KIB:WAYS or l2=KIB:WAYS, got '%s'\n", argv[i]);
    return -1;
  }
  MakeCache(&l1, l1_kib, l1_ways);
  MakeCache(&l2, l2_kib, l2_ways);
  file = output[0] == '\0' ? stderr : fopen(output, "w");
  if (file == NULL) {
    fprintf(stderr, "rvvprof: %s: %s\n", output, strerror(errno));
    return -1;
  }
  fputs("nmpack-rvvprof 1\n", file);
  qemu_plugin_register_vcpu_init_cb(id, AtThread);
  qemu_plugin_register_vcpu_tb_trans_cb(id, AtTranslation);
  qemu_plugin_register_atexit_cb(id, AtExit, NULL);
  return 0;
}
