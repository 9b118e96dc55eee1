// SPDX-License-Identifier: BSD-3-Clause
#include "report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace nmpack {
namespace {

// Names come from the model: any bytes. Those that are not UTF-8 become U+FFFD, so that the result always is.
size_t Utf8Length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned lead = byte(at);
  if (lead < 0x80) return 1;
  if (0xC2 <= lead && lead <= 0xDF && tail(at + 1)) return 2;
  const unsigned next = byte(at + 1);
  if ((lead & 0xF0) == 0xE0 && tail(at + 1) && tail(at + 2) && !(lead == 0xE0 && next < 0xA0) &&
      !(lead == 0xED && next > 0x9F)) {
    return 3;
  }
  if (0xF0 <= lead && lead <= 0xF4 && tail(at + 1) && tail(at + 2) && tail(at + 3) &&
      !(lead == 0xF0 && next < 0x90) && !(lead == 0xF4 && next > 0x8F)) {
    return 4;
  }
  return 0;
}

// JSON has no infinity; the shortest of nine digits is exact for a float. The locale's comma must not appear.
std::string Number(float value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", static_cast<double>(value));
  for (char* c = text; *c != '\0'; c++) {
    if (*c == ',') *c = '.';
  }
  return text;
}

std::string Failed(const char* what, const std::string& path, int error) {
  return std::string("cannot ") + what + " '" + path + "': " + std::strerror(error);
}

// An empty file beside `path`, open for writing, or -1. Several delegates may report to one path.
int OpenBeside(const std::string& path, std::string* temporary) {
  static std::atomic<unsigned> count{0};
  *temporary = path + "." + std::to_string(getpid()) + "-" + std::to_string(count++) + ".tmp";
  return open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

}  // namespace

std::string JsonString(const std::string& text) {
  std::string result = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8Length(text, i);
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (length == 0) {
      result += "\\ufffd";
    } else if (length > 1) {
      result.append(text, i, length);
    } else if (c == '"' || c == '\\') {
      result += '\\';
      result += static_cast<char>(c);
    } else if (c < 0x20 || c == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", c);
      result += escaped;
    } else {
      result += static_cast<char>(c);
    }
    i += length == 0 ? 1 : length;
  }
  return result + '"';
}

std::string Describe(const Layer& c) {
  char text[256];
  std::snprintf(text, sizeof(text),
                ": %ux%ux%u, %u -> %u channels, %u group%s: %s in %s%s (%s), non-zero weights %.1f %%, kept columns "
                "%.1f %% in tiles of %u, predicted speed-up %.2f",
                c.kernel_height, c.kernel_width, c.group_input_channels, c.groups * c.group_input_channels,
                c.groups * c.group_output_channels, c.groups, c.groups == 1 ? "" : "s",
                c.sparse ? "N:M" : "dense", c.layout.c_str(), c.fused_addition ? " with an addition" : "",
                c.reason.c_str(), 100.0 * c.element_density,
                100.0 * c.column_density, c.tile_height, c.predicted_speedup);
  return JsonString(c.name) + text;
}

std::string ToJson(const Layer& c) {
  std::string result = "{\"name\":" + JsonString(c.name);
  const auto count = [&](const char* key, uint32_t value) {
    result += std::string(",\"") + key + "\":" + std::to_string(value);
  };
  const auto number = [&](const char* key, float value) {
    result += std::string(",\"") + key + "\":" + Number(value);
  };
  result += std::string(",\"operator\":\"") + (c.sparse ? "nm" : "dense") + '"';
  result += ",\"reason\":" + JsonString(c.reason);
  result += ",\"layout\":" + JsonString(c.layout);
  result += std::string(",\"fused_addition\":") + (c.fused_addition ? "true" : "false");
  if (c.node >= 0) count("node", static_cast<uint32_t>(c.node));
  count("filter_id", c.filter_id);
  count("groups", c.groups);
  count("group_input_channels", c.group_input_channels);
  count("group_output_channels", c.group_output_channels);
  count("kernel_height", c.kernel_height);
  count("kernel_width", c.kernel_width);
  number("element_density", c.element_density);
  number("column_density", c.column_density);
  count("tile_height", c.tile_height);
  count("pixel_tile", c.pixel_tile);
  number("predicted_speedup", c.predicted_speedup);
  result += std::string(",\"measured\":") + (c.measured ? "true" : "false");
  return result + '}';
}

std::string ToJson(const Report& report) {
  std::string result = "{\"schema\":3,\"threads\":" + std::to_string(report.threads);
  if (!report.riscv_vector.empty()) result += ",\"riscv_vector\":" + JsonString(report.riscv_vector);
  result += ",\"partitions\":[";
  const char* separator = "\n";
  for (const PartitionReport& partition : report.partitions) {
    result += separator + ("{\"subgraph\":" + std::to_string(partition.subgraph)) + ",\"nodes\":[";
    for (size_t i = 0; i < partition.nodes.size(); i++) {
      result += (i == 0 ? "" : ",") + std::to_string(partition.nodes[i]);
    }
    result += std::string("],\"precision\":\"") + (partition.in_f16 ? "f16" : "model") + '"';
    if (!partition.why_not_f16.empty()) result += ",\"why_not_f16\":" + JsonString(partition.why_not_f16);
    result += ",\"layout_conversions\":" + std::to_string(partition.layout_conversions) + ",\"layers\":[";
    for (size_t i = 0; i < partition.layers.size(); i++) {
      result += (i == 0 ? "\n" : ",\n") + ToJson(partition.layers[i]);
    }
    result += "]}";
    separator = ",\n";
  }
  result += "],\"left\":[";
  separator = "\n";
  for (const LeftNode& left : report.left) {
    result += separator + ("{\"subgraph\":" + std::to_string(left.subgraph)) +
              ",\"node\":" + std::to_string(left.node) + ",\"operator\":" + std::to_string(left.builtin_code) +
              ",\"reason\":" + JsonString(left.reason) + "}";
    separator = ",\n";
  }
  return result + "]}\n";
}

std::string WriteWhole(const std::string& path, const std::string& content) {
  std::string temporary;
  const int file = OpenBeside(path, &temporary);
  if (file < 0) {
    return Failed("create a file beside", path, errno);
  }
  int error = 0;
  for (size_t done = 0; done < content.size() && error == 0;) {
    const ssize_t written = write(file, content.data() + done, content.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (close(file) != 0 && error == 0) {
    error = errno;
  }
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) {
    error = errno;
  }
  if (error != 0) {
    unlink(temporary.c_str());
    return Failed("write", path, error);
  }
  return std::string();
}

std::string CheckWritable(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return "cannot write '" + path + "': it is not a regular file";
  }
  std::string temporary;
  const int file = OpenBeside(path, &temporary);
  if (file < 0) {
    return Failed("create a file beside", path, errno);
  }
  close(file);
  unlink(temporary.c_str());
  return std::string();
}

}  // namespace nmpack
