// SPDX-License-Identifier: BSD-3-Clause
#include "runtime.h"

#include <dlfcn.h>

#include "failure.h"

namespace nmpack {
namespace {

const char* const kUsualLibraries[] = {"libtensorflow-lite.so.2.14.1", "libtensorflowlite_c.so"};

template <typename Function>
void Find(void* library, const std::string& path, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) {
    throw Failure("expected the function " + std::string(name) + " in '" + path + "', found none");
  }
}

// A path without a slash names a library of the system; a file here is meant literally.
void* Open(const std::string& path, std::string* error) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *error = dlerror();
  }
  return library;
}

}  // namespace

TfLite LoadTfLite(const std::string& path) {
  void* library = nullptr;
  std::string found = path, errors;
  if (path.empty()) {
    for (const char* usual : kUsualLibraries) {
      std::string error;
      if ((library = Open(found = usual, &error)) != nullptr) break;
      errors += (errors.empty() ? "" : "; ") + error;
    }
  } else {
    library = Open(path, &errors);
  }
  if (library == nullptr) {
    throw Failure("expected a library with TFLite's C interface (--runtime FILE), found none: " + errors);
  }
  TfLite result;
#define NMPACK_FIND(name) Find(library, found, #name, &result.name);
  NMPACK_TFLITE_FUNCTIONS(NMPACK_FIND)
#undef NMPACK_FIND
  return result;
}

DelegatePlugin LoadDelegatePlugin(const std::string& path) {
  // Like an interpreter's own loader: a name without a slash is a file of this folder first.
  std::string error;
  void* library = path.find('/') == std::string::npos ? Open("./" + path, &error) : nullptr;
  if (library == nullptr) {
    library = Open(path, &error);
  }
  if (library == nullptr) {
    throw Failure("cannot load the delegate: " + error);
  }
  DelegatePlugin plugin;
  Find(library, path, "tflite_plugin_create_delegate", &plugin.create);
  Find(library, path, "tflite_plugin_destroy_delegate", &plugin.destroy);
  return plugin;
}

TfLiteDelegate* CreateDelegate(const DelegatePlugin& plugin,
                               const std::vector<std::pair<std::string, std::string>>& options) {
  static std::string reason;
  std::vector<const char*> keys, values;
  for (const auto& option : options) {
    keys.push_back(option.first.c_str());
    values.push_back(option.second.c_str());
  }
  TfLiteDelegate* delegate =
      plugin.create(keys.data(), values.data(), keys.size(), [](const char* text) { reason = text; });
  if (delegate == nullptr) {
    throw Failure(reason.empty() ? "the delegate cannot be created and does not say why" : reason);
  }
  return delegate;
}

}  // namespace nmpack
