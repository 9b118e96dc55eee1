// SPDX-License-Identifier: BSD-3-Clause
//
// nmpack-measure: times ways to run a convolution on the machine where it runs. It reads commands from standard input, one
// a line, and answers each with one line of JSON. docs/tuning.md says what they are; python/nmpack/tune asks.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "layer.h"
#include "machine.h"
#include "xnnpack.h"
#include "xnnpack-nm.h"

namespace nmpack {
namespace {

constexpr size_t kLongestLine = 1 << 16;
constexpr size_t kMostLayers = 256;
constexpr size_t kMostRuns = 100000;
constexpr size_t kMostEvicted = size_t{1} << 30;

// In JSON's quotes. Whatever is no plain letter becomes a question mark.
std::string Quoted(const std::string& text) {
  std::string result = "\"";
  for (unsigned char c : text) result += c < 0x20 || c > 0x7e ? '?' : static_cast<char>(c == '"' || c == '\\' ? '\'' : c);
  return result + '"';
}

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

template <typename Items, typename Write>
std::string List(const Items& items, Write write) {
  std::string result = "[";
  for (const auto& item : items) result += (result.size() == 1 ? "" : ",") + write(item);
  return result + "]";
}

class Session {
 public:
  std::string Answer(const std::vector<std::string>& words) {
    const std::string& verb = words[0];
    if (verb == "machine") return AnswerMachine(words);
    if (verb == "layer") return AnswerLayer(words);
    if (verb == "run") return AnswerRun(words);
    if (verb == "drop") return AnswerDrop(words);
    throw BadCommand("expected machine, layer, run, drop or quit, got '" + verb + "'");
  }

 private:
  static void Expect(const std::vector<std::string>& words, size_t least, size_t most, const char* usage) {
    if (words.size() < least || words.size() > most) throw BadCommand(std::string("expected ") + usage);
  }

  DrawnLayer& Find(const std::string& id) {
    const auto found = layers_.find(id);
    if (found == layers_.end()) throw BadCommand("there is no layer '" + id + "'");
    return *found->second;
  }

  std::string AnswerMachine(const std::vector<std::string>& words) {
    Expect(words, 1, 1, "machine");
    const Machine m = DescribeMachine();
    std::vector<const char*> types;
    while (const char* name = xnn_get_nm_datatype_name(types.size())) types.push_back(name);
    return "{\"protocol\":2,\"architecture\":" + Quoted(m.architecture) + ",\"cpu\":" + Quoted(m.cpu) +
           ",\"isa\":" + Quoted(m.isa) + ",\"vlen\":" + std::to_string(m.vlen) +
           ",\"caches\":" + List(m.caches, [](size_t size) { return std::to_string(size); }) +
           ",\"cores\":" + std::to_string(m.cores) + ",\"kernels\":" + Quoted(m.kernels) +
           ",\"compiler\":" + Quoted(m.compiler) + ",\"types\":" + List(types, Quoted) + "}";
  }

  std::string AnswerLayer(const std::vector<std::string>& words) {
    Expect(words, 2, 64, "layer ID KEY=VALUE ...");
    const std::string& id = words[1];
    if (layers_.count(id) == 0 && layers_.size() == kMostLayers) {
      throw BadCommand("there are " + std::to_string(kMostLayers) + " layers already: drop one");
    }
    layers_[id] = std::make_unique<DrawnLayer>(ParseLayer(words, 2));
    const DrawnLayer& layer = *layers_[id];
    return "{\"layer\":" + Quoted(id) + ",\"macs\":" + Number(layer.macs()) + ",\"kept_macs\":" + Number(layer.kept_macs()) +
           ",\"densities\":" + List(layer.Densities(), Number) + ",\"candidates\":" +
           List(layer.candidates(), [](const Candidate& c) {
             return "{\"name\":" + Quoted(c.name) + ",\"layout\":\"" + (c.cnhw ? "cnhw" : "nhwc") +
                    "\",\"predicted\":" + Number(c.predicted) + "}";
           }) + "}";
  }

  std::string AnswerRun(const std::vector<std::string>& words) {
    Expect(words, 4, 5, "run ID CANDIDATE COUNT [evict=BYTES]");
    DrawnLayer& layer = Find(words[1]);
    const size_t count = ParseCount("COUNT", words[3], 1, kMostRuns);
    size_t evicted = 0;
    if (words.size() == 5) {
      if (words[4].compare(0, 6, "evict=") != 0) throw BadCommand("expected evict=BYTES, got '" + words[4] + "'");
      evicted = ParseCount("evict", words[4].substr(6), 0, kMostEvicted);
    }
    const std::vector<double> times = layer.Run(words[2], count, evicted);
    return "{\"layer\":" + Quoted(words[1]) + ",\"candidate\":" + Quoted(words[2]) + ",\"ns\":" + List(times, Number) + "}";
  }

  std::string AnswerDrop(const std::vector<std::string>& words) {
    Expect(words, 2, 2, "drop ID");
    Find(words[1]);
    layers_.erase(words[1]);
    return "{\"dropped\":" + Quoted(words[1]) + "}";
  }

  std::map<std::string, std::unique_ptr<DrawnLayer>> layers_;
};

// A line without its end, or false where nothing is left. What is too long is cut, and so no command.
bool ReadLine(std::string* line) {
  line->clear();
  int c;
  while ((c = std::getchar()) != EOF && c != '\n') {
    if (line->size() <= kLongestLine) line->push_back(static_cast<char>(c));
  }
  return c != EOF || !line->empty();
}

int Serve(const char* isa) {
  if (xnn_initialize(nullptr) != xnn_status_success) {
    std::fprintf(stderr, "nmpack-measure: XNNPACK does not run on this machine\n");
    return 1;
  }
  if (isa != nullptr && !LimitInstructions(isa)) {
    std::fprintf(stderr, "nmpack-measure: this processor cannot be limited to the instruction set '%s'\n", isa);
    return 1;
  }
  Session session;
  for (std::string line; ReadLine(&line);) {
    const std::vector<std::string> words = SplitWords(line);
    if (words.empty()) continue;
    if (words[0] == "quit") break;
    std::string answer;
    try {
      if (line.size() > kLongestLine) throw BadCommand("a command has up to " + std::to_string(kLongestLine) + " letters");
      answer = session.Answer(words);
    } catch (const std::bad_alloc&) {
      answer = "{\"error\":\"there is not enough memory\"}";
    } catch (const std::exception& error) {
      answer = "{\"error\":" + Quoted(error.what()) + "}";
    }
    if (std::printf("%s\n", answer.c_str()) < 0 || std::fflush(stdout) != 0) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace nmpack

int main(int argc, char** argv) {
  if (argc == 1) return nmpack::Serve(nullptr);
  if (argc == 3 && std::strcmp(argv[1], "--isa") == 0) return nmpack::Serve(argv[2]);
  const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
  std::fprintf(help ? stdout : stderr,
               "usage: nmpack-measure [--isa fma3]\n\n"
               "Reads commands from standard input, one a line, and answers each with a line of JSON:\n"
               "  machine                                     what times depend on here\n"
               "  layer ID KEY=VALUE ...                      draws a convolution, lists ways to run it\n"
               "  run ID CANDIDATE COUNT [evict=BYTES]        nanoseconds of each run\n"
               "  drop ID\n"
               "  quit\n"
               "With --isa an x86-64 processor is taken for one of AVX2 and FMA3 alone.\n"
               "docs/tuning.md has the keys; 'nmpack tune' asks.\n");
  return help ? 0 : 2;
}
