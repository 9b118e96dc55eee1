// SPDX-License-Identifier: BSD-3-Clause
#include "times.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace nmpack {
namespace {

struct Summary {
  double min, max, avg, median, std;
};

Summary Summarize(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const size_t n = times.size();
  double sum = 0, squares = 0;
  for (double time : times) sum += time;
  const double avg = sum / static_cast<double>(n);
  for (double time : times) squares += (time - avg) * (time - avg);
  // Of the sample: one run has no spread.
  const double std = n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0.0;
  return {times.front(), times.back(), avg, (times[(n - 1) / 2] + times[n / 2]) / 2, std};
}

}  // namespace

double Microseconds() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

std::string TimesAsText(const std::vector<double>& times) {
  const Summary s = Summarize(times);
  char text[256];
  std::snprintf(text, sizeof(text), "count=%zu first=%.0f min=%.0f max=%.0f avg=%.0f median=%.0f std=%.0f (microseconds)\n",
                times.size(), times.front(), s.min, s.max, s.avg, s.median, s.std);
  return text;
}

std::string TimesAsJson(const std::vector<double>& times, double load) {
  const Summary s = Summarize(times);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  char text[512];
  std::snprintf(text, sizeof(text),
                "{\"count\":%zu,\"first_us\":%.1f,\"min_us\":%.1f,\"max_us\":%.1f,\"avg_us\":%.1f,\"median_us\":%.1f,"
                "\"std_us\":%.1f,\"load_us\":%.1f,\"peak_rss_kib\":%ld}\n",
                times.size(), times.front(), s.min, s.max, s.avg, s.median, s.std, load, usage.ru_maxrss);
  return text;
}

}  // namespace nmpack
