// SPDX-License-Identifier: BSD-3-Clause
#include "subgraph_index.h"

namespace nmpack {
namespace {

void Ignore(TfLiteContext*, const char*, ...) {}

}  // namespace

int SubgraphIndex(TfLiteContext* context) {
  // No function tells. But an interpreter hands out the context of each subgraph, and complains after the last one.
  // Giving back our own may end its time as a delegate's context, so what makes it one is put back.
  const TfLiteContext before = *context;
  context->ReportError = Ignore;
  int result = 0;
  for (int i = 0;; i++) {
    TfLiteContext* other = nullptr;
    if (before.AcquireSubgraphContext(context, i, &other) != kTfLiteOk) break;
    const bool found = other == context;
    before.ReleaseSubgraphContext(context, i);
    if (found) {
      result = i;
      break;
    }
  }
  context->ReportError = before.ReportError;
  context->GetNodeAndRegistration = before.GetNodeAndRegistration;
  context->ReplaceNodeSubsetsWithDelegateKernels = before.ReplaceNodeSubsetsWithDelegateKernels;
  context->GetExecutionPlan = before.GetExecutionPlan;
  context->PreviewDelegatePartitioning = before.PreviewDelegatePartitioning;
  context->AcquireSubgraphContext = before.AcquireSubgraphContext;
  context->ReleaseSubgraphContext = before.ReleaseSubgraphContext;
  return result;
}

}  // namespace nmpack
