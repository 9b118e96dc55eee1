// SPDX-License-Identifier: BSD-3-Clause
#include "tuning.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

#include "processor.h"
#if NMPACK_XNNPACK_HAS_NM
#include "xnnpack-nm.h"
#endif

namespace nmpack {

#if NMPACK_XNNPACK_HAS_NM

namespace {

constexpr size_t kMostBytes = size_t{1} << 20;
constexpr size_t kMostRecords = 16384;
constexpr double kLargestCost = 1e9;
constexpr double kLongestTime = 1e15;
constexpr char kFirst[] = "nmpack-tuning 2";
// All that it holds is of f32.
constexpr char kUntyped[] = "nmpack-tuning 1";

// What is wrong with a line.
using Bad = std::runtime_error;
using Words = std::vector<std::string>;

// Pieces between single separators; two in a row have an empty piece between them.
Words Split(const std::string& text, char separator) {
  Words pieces;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1) {
    pieces.push_back(text.substr(begin, end - begin));
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

size_t Whole(const std::string& text, size_t least, size_t most) {
  const bool digits = !text.empty() && text.size() <= 10 && (text == "0" || text[0] != '0') &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  const size_t value = digits ? static_cast<size_t>(std::stoull(text)) : 0;
  if (!digits || value < least || value > most) {
    throw Bad("expected a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

// Digits, a point, an exponent, whatever the locale: no sign, no hexadecimal digits, no infinity.
double Real(const std::string& text, double most) {
  constexpr size_t kLongest = 48;
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') at++;
    return at - begin;
  };
  double mantissa = 0.0;
  const auto add = [&](size_t begin) {
    for (size_t i = begin; i < at; i++) mantissa = mantissa * 10.0 + (text[i] - '0');
  };
  bool good = text.size() <= kLongest && digits() != 0;
  add(0);
  int exponent = 0;
  if (good && at < text.size() && text[at] == '.') {
    const size_t begin = ++at;
    good = digits() != 0;
    add(begin);
    exponent -= static_cast<int>(at - begin);
  }
  if (good && at < text.size() && text[at] == 'e') {
    at++;
    const bool negative = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) at++;
    const size_t begin = at;
    good = digits() != 0 && at - begin <= 2;
    if (good) exponent += (negative ? -1 : 1) * std::atoi(text.c_str() + begin);
  }
  const double value = mantissa * std::pow(10.0, exponent);
  if (!good || at != text.size() || !(value <= most)) throw Bad("expected a number from 0 to " + std::to_string(most));
  return value;
}

xnn_datatype Type(const std::string& text) {
  const xnn_datatype type = xnn_get_nm_datatype(text.c_str());
  if (type == xnn_datatype_invalid || text.find('\0') != std::string::npos) {
    throw Bad("expected an element type that this library knows");
  }
  return type;
}

struct Cost {
  xnn_datatype type = xnn_datatype_invalid;
  std::string name;
  size_t index = 0;
  std::vector<float> values;
};

Cost ReadCost(const Words& words) {
  if (words.size() < 4) throw Bad("expected cost TYPE NAME VALUE or cost TYPE NAME INDEX VALUE ...");
  Cost cost;
  cost.type = Type(words[1]);
  cost.name = words[2];
  const size_t first = words.size() == 4 ? 3 : 4;
  if (first == 4) cost.index = Whole(words[3], 0, 1023);
  for (size_t i = first; i < words.size(); i++) cost.values.push_back(static_cast<float>(Real(words[i], kLargestCost)));
  return cost;
}

// What a layer is told apart by: its type, sizes and densities.
using Key = std::vector<double>;

Key ReadLayer(const Words& words, std::vector<xnn_nm_record>* records) {
  xnn_nm_record record{};
  size_t* const sizes[] = {
      &record.batch_size, &record.input_height, &record.input_width, &record.output_height, &record.output_width,
      &record.groups, &record.group_input_channels, &record.group_output_channels, &record.kernel_height,
      &record.kernel_width, &record.stride_height, &record.stride_width, &record.dilation_height,
      &record.dilation_width};
  float* const densities[] = {&record.element_density, &record.column_density_8, &record.column_density_32};
  constexpr size_t kBefore = 2 + std::size(sizes) + std::size(densities);
  if (words.size() <= kBefore) throw Bad("expected a type, 14 sizes, 3 densities and times of candidates");
  record.datatype = Type(words[1]);
  Key key = {static_cast<double>(record.datatype)};
  size_t at = 2;
  for (size_t* size : sizes) key.push_back(static_cast<double>(*size = Whole(words[at++], 1, INT32_MAX)));
  for (float* density : densities) {
    key.push_back(Real(words[at++], 1.0));
    *density = static_cast<float>(key.back());
  }
  std::set<std::string> names;
  for (; at < words.size(); at++) {
    const size_t equals = words[at].find('=');
    if (equals == std::string::npos || equals == 0 || equals >= sizeof(record.candidate)) {
      throw Bad("expected CANDIDATE=NANOSECONDS");
    }
    if (!names.insert(words[at].substr(0, equals)).second) throw Bad("expected each candidate once");
    std::memset(record.candidate, 0, sizeof(record.candidate));
    std::memcpy(record.candidate, words[at].data(), equals);
    record.nanoseconds = static_cast<float>(Real(words[at].substr(equals + 1), kLongestTime));
    if (!(record.nanoseconds > 0.0f)) throw Bad("expected a time above 0");
    if (records->size() == kMostRecords) throw Bad("expected at most " + std::to_string(kMostRecords) + " times");
    records->push_back(record);
  }
  return key;
}

}  // namespace

struct Tuning::Content {
  bool typed = true;
  std::string isa;
  size_t vlen = 0;
  std::string kernels;
  std::string cpu;
  size_t threads = 0;
  double unit_ps = 0.0;
  std::vector<Cost> costs;
  std::vector<xnn_nm_record> records;
  std::set<Key> layers;

  // Takes line `number`, counted from 1; the first has been looked at.
  void Take(size_t number, const std::string& line) {
    static const char* const kHead[] = {"isa", "vlen", "kernels", "cpu", "threads", "unit_ps"};
    Words words = Split(line, ' ');
    const size_t head = number - 2;
    if (head < std::size(kHead)) {
      if (words[0] != kHead[head] || words.size() < 2) throw Bad(std::string("expected ") + kHead[head] + " and its value");
      const std::string value = line.substr(words[0].size() + 1);
      switch (head) {
        case 0: isa = value; break;
        case 1: vlen = Whole(value, 0, 65536); break;
        case 2: kernels = value; break;
        case 3: cpu = value; break;
        case 4: threads = Whole(value, 1, 65536); break;
        case 5: unit_ps = Real(value, kLargestCost); break;
      }
      if (head == 5 && !(static_cast<float>(unit_ps) > 0.0f)) throw Bad("expected a number above 0");
      return;
    }
    if (!typed) words.insert(words.begin() + 1, xnn_get_nm_datatype_name(0));
    if (words[0] == "cost" && records.empty()) {
      costs.push_back(ReadCost(words));
    } else if (words[0] == "layer") {
      if (!layers.insert(ReadLayer(words, &records)).second) throw Bad("expected each layer once");
    } else {
      throw Bad("expected a layer, or a cost in front of all layers");
    }
  }
};

Tuning::Tuning(std::unique_ptr<const Content> content) : content_(std::move(content)) {}

Tuning::~Tuning() = default;

std::unique_ptr<const Tuning> Tuning::Parse(const char* text, size_t size, std::string* why) {
  if (size > kMostBytes) {
    *why = "it has more than " + std::to_string(kMostBytes) + " bytes";
    return nullptr;
  }
  const Words lines = Split(std::string(text, size), '\n');
  // Behind the last line's end is an empty piece.
  const size_t count = lines.size() < 3 ? 0 : lines.size() - 2;
  if (lines[0] != kFirst && lines[0] != kUntyped) {
    *why = std::string("its first line is not '") + kFirst + "'";
    return nullptr;
  }
  if (count < 7 || !lines.back().empty() || lines[count] != "end " + std::to_string(count)) {
    *why = "its end is missing";
    return nullptr;
  }
  auto content = std::make_unique<Content>();
  content->typed = lines[0] == kFirst;
  for (size_t i = 1; i < count; i++) {
    try {
      content->Take(i + 1, lines[i]);
    } catch (const Bad& bad) {
      *why = "line " + std::to_string(i + 1) + ": " + bad.what();
      return nullptr;
    }
  }
  return std::unique_ptr<const Tuning>(new Tuning(std::move(content)));
}

std::unique_ptr<const Tuning> Tuning::Read(const std::string& path, std::string* why) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  if (!file || !file.read(text.data(), static_cast<std::streamsize>(text.size())).eof()) {
    *why = file.is_open() && file ? "it has more than " + std::to_string(kMostBytes) + " bytes" : "it cannot be read";
    return nullptr;
  }
  return Parse(text.data(), static_cast<size_t>(file.gcount()), why);
}

std::string Tuning::Refuse(int threads) const {
  const Content& c = *content_;
  const auto other = [](const char* what, const std::string& expected, const std::string& got) {
    return std::string("it is of ") + what + " " + PlainText(got) + ", and this is " + expected;
  };
  if (c.isa != xnn_get_nm_isa()) return other("the instruction set", xnn_get_nm_isa(), c.isa);
  if (c.vlen != xnn_get_nm_vector_length()) {
    return other("a vector length of", std::to_string(xnn_get_nm_vector_length()), std::to_string(c.vlen));
  }
  if (c.kernels != xnn_get_nm_sources_hash()) return other("the kernels", xnn_get_nm_sources_hash(), c.kernels);
  if (c.cpu != "any" && c.cpu != ProcessorName()) return other("the processor", ProcessorName(), c.cpu);
  if (c.threads != static_cast<size_t>(threads)) {
    return "it is of " + std::to_string(c.threads) + " threads, and these are " + std::to_string(threads);
  }
  return "";
}

std::string Tuning::Apply(xnn_subgraph* subgraph) const {
  std::map<xnn_datatype, xnn_nm_costs> changed;
  for (const Cost& cost : content_->costs) {
    const auto [costs, is_first] = changed.try_emplace(cost.type);
    if ((is_first && xnn_get_nm_costs(cost.type, &costs->second) != xnn_status_success) ||
        xnn_set_nm_cost(&costs->second, cost.name.c_str(), cost.index, cost.values.size(), cost.values.data()) !=
            xnn_status_success) {
      return "there is no cost '" + PlainText(cost.name) + "', or not room for so many values";
    }
  }
  for (const auto& [type, costs] : changed) {
    if (xnn_subgraph_set_nm_costs(subgraph, type, &costs) != xnn_status_success) return "XNNPACK does not take it";
  }
  if (xnn_subgraph_set_nm_records(subgraph, static_cast<float>(content_->unit_ps), content_->records.size(),
                                  content_->records.data()) != xnn_status_success) {
    return "XNNPACK does not take it";
  }
  return "";
}

#else  // An XNNPACK without the N:M operator: nothing is chosen.

struct Tuning::Content {};

Tuning::Tuning(std::unique_ptr<const Content> content) : content_(std::move(content)) {}

Tuning::~Tuning() = default;

std::unique_ptr<const Tuning> Tuning::Parse(const char*, size_t, std::string* why) {
  *why = "this XNNPACK has nothing to choose";
  return nullptr;
}

std::unique_ptr<const Tuning> Tuning::Read(const std::string&, std::string* why) { return Parse(nullptr, 0, why); }

std::string Tuning::Refuse(int) const { return ""; }

std::string Tuning::Apply(xnn_subgraph*) const { return ""; }

#endif

}  // namespace nmpack
