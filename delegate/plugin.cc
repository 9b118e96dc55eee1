// SPDX-License-Identifier: BSD-3-Clause
//
// The two functions that an interpreter looks up in a delegate library, around TFLite's XNNPACK delegate.
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "convolutions.h"
#include "model_checks.h"
#include "options.h"
#include "report.h"
#include "sparse_rows.h"
#include "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h"

namespace nmpack {
namespace {

struct Plugin {
  Options options;
  ModelChecks checks;
  SparseFilters sparse_filters;
  std::vector<Partition> partitions;
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteDelegate*) = nullptr;  // of TFLite's delegate
};

// Delegates that this library has created and not yet destroyed.
std::mutex plugins_mutex;
std::map<const TfLiteDelegate*, std::unique_ptr<Plugin>> plugins;

Plugin* Find(const TfLiteDelegate* delegate) {
  const std::lock_guard<std::mutex> lock(plugins_mutex);
  const auto found = plugins.find(delegate);
  return found == plugins.end() ? nullptr : found->second.get();
}

bool AcceptNode(void* hook_data, const TfLiteContext* context, const TfLiteRegistration* registration,
                const TfLiteNode* node, int node_index) {
  Plugin& plugin = *static_cast<Plugin*>(hook_data);
  const char* why = plugin.checks.Refuse(*context, *registration, *node);
  if (why != nullptr && plugin.options.verbose) {
    std::fprintf(stderr, "nmpack: node #%d (builtin operator %d) is left to the interpreter: %s\n", node_index,
                 registration->builtin_code, why);
  }
  return why == nullptr;
}

bool KeepSparse(void* hook_data, TfLiteContext* context, int sparse_tensor, int dense_tensor) {
  return static_cast<Plugin*>(hook_data)->sparse_filters.Keep(context, sparse_tensor, dense_tensor);
}

TfLiteStatus DefineDensified(void* hook_data, TfLiteContext* context, int dense_tensor, xnn_subgraph* subgraph,
                             uint32_t* value_id) {
  return static_cast<Plugin*>(hook_data)->sparse_filters.Define(context, dense_tensor, subgraph, value_id);
}

TfLiteStatus RuntimeCreated(void* hook_data, TfLiteContext* context, const TfLiteDelegateParams* params,
                            struct xnn_runtime* runtime) {
  Plugin& plugin = *static_cast<Plugin*>(hook_data);
  Partition partition;
  if (!ReadConvolutions(context, *params, runtime, &partition)) {
    context->ReportError(context, "nmpack: cannot read what XNNPACK decided for the convolutions");
    return kTfLiteError;
  }
  if (plugin.options.verbose) {
    size_t sparse = 0;
    for (const Convolution& convolution : partition.convolutions) {
      std::fprintf(stderr, "nmpack: %s\n", Describe(convolution).c_str());
      sparse += convolution.sparse ? 1 : 0;
    }
    std::fprintf(stderr, "nmpack: partition %zu: %zu nodes, %zu convolutions, %zu of them N:M, %zu layout conversions\n",
                 plugin.partitions.size() + 1, partition.nodes, partition.convolutions.size(), sparse,
                 partition.layout_conversions);
  }
  plugin.partitions.push_back(std::move(partition));
  return kTfLiteOk;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  try {
    Plugin* plugin = Find(delegate);
    if (plugin == nullptr) {
      context->ReportError(context, "nmpack: this delegate was destroyed before the interpreter that uses it");
      return kTfLiteError;
    }
    plugin->checks.Begin(context);
    plugin->sparse_filters.Reset();
    const TfLiteStatus status = plugin->prepare(context, delegate);
    if (status != kTfLiteOk || plugin->options.report.empty()) {
      return status;
    }
    const std::string error = WriteWhole(plugin->options.report, ToJson(plugin->partitions));
    if (!error.empty()) {
      context->ReportError(context, "nmpack: %s", error.c_str());
      return kTfLiteError;
    }
    return kTfLiteOk;
  } catch (const std::exception& error) {
    context->ReportError(context, "nmpack: %s", error.what());
    return kTfLiteError;
  }
}

// Returns null and fills `error` unless all went well.
TfLiteDelegate* Create(const char* const* keys, const char* const* values, size_t count, std::string* error) {
  auto plugin = std::make_unique<Plugin>();
  *error = ParseOptions(keys, values, count, &plugin->options);
  if (error->empty() && !plugin->options.report.empty()) {
    *error = CheckWritable(plugin->options.report);
  }
  if (!error->empty()) {
    return nullptr;
  }

  TfLiteXNNPackDelegateOptions options = TfLiteXNNPackDelegateOptionsDefault();
  options.num_threads = plugin->options.num_threads;
  options.runtime_flags = RuntimeFlags(plugin->options.nm, plugin->options.layout);
  options.runtime_created = RuntimeCreated;
  options.accept_node = AcceptNode;
  options.keep_sparse = KeepSparse;
  options.define_densified = DefineDensified;
  options.hook_data = plugin.get();
  TfLiteDelegate* delegate = TfLiteXNNPackDelegateCreate(&options);
  if (delegate == nullptr) {
    *error = "XNNPACK does not run on this machine: it found no kernels for the processor or no memory";
    return nullptr;
  }
  plugin->prepare = delegate->Prepare;
  delegate->Prepare = Prepare;
  const std::lock_guard<std::mutex> lock(plugins_mutex);
  plugins[delegate] = std::move(plugin);
  return delegate;
}

}  // namespace
}  // namespace nmpack

#define NMPACK_EXPORT extern "C" __attribute__((visibility("default")))

NMPACK_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const* options_keys,
                                                            const char* const* options_values,
                                                            size_t num_options,
                                                            void (*report_error)(const char*)) {
  std::string error;
  TfLiteDelegate* delegate = nullptr;
  try {
    delegate = nmpack::Create(options_keys, options_values, num_options, &error);
  } catch (const std::exception& exception) {
    error = exception.what();
  }
  if (delegate == nullptr) {
    error = "nmpack delegate: " + error;
    if (report_error != nullptr) {
      report_error(error.c_str());
    } else {
      std::fprintf(stderr, "%s\n", error.c_str());
    }
  }
  return delegate;
}

NMPACK_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate == nullptr) {
    return;
  }
  TfLiteXNNPackDelegateDelete(delegate);
  const std::lock_guard<std::mutex> lock(nmpack::plugins_mutex);
  nmpack::plugins.erase(delegate);
}
