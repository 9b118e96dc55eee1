// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Column-wise N:M sparse inference: flags, costs, what became of each layer, filters that are made row by row.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Let layers with column-wise N:M sparse static weights run on the N:M operator where that is predicted to be faster
/// than the dense one.
///
/// Note: this flag is a hint to XNNPACK. @ref xnn_get_runtime_nm_layer_info tells what became of it.
#define XNN_FLAG_HINT_NM_SPARSE_INFERENCE 0x00000200

/// Let layers run on the N:M operator wherever it supports them, faster or not.
#define XNN_FLAG_FORCE_NM_SPARSE_INFERENCE 0x00000400

/// Together with one of these: keep all of the graph in NHWC layout, or bring all that can be
/// to CNHW layout, rather than choosing by predicted time.
#define XNN_FLAG_FORCE_NM_NHWC 0x00000800
#define XNN_FLAG_FORCE_NM_CNHW 0x00001000

/// Upper bounds on the micro-kernels of NHWC images, on those of CNHW images (each of one strip width), and on the rows
/// that one of these computes at once.
#define XNN_MAX_NMCONV_KERNELS 6
#define XNN_MAX_NMSPMM_KERNELS 4
#define XNN_MAX_NMSPMM_ROWS 32

/// What layers are predicted to cost on some hardware: numbers of type float, and nothing else.
///
/// The unit is the time of one weight and pixel in the dense operator's GEMM micro-kernel on large images. Costs of layers
/// are for one output pixel; what an operator costs however many pixels it has is spread over them. Micro-kernels have the
/// indices of XNNPACK's configurations; entries without a micro-kernel do not count.
struct xnn_nm_costs {
  /// The dense operator: a column of a tile of MR pixels and NR channels costs dense_column + MR * NR * dense_weight,
  /// times so many percent for either kind of micro-kernel.
  float dense_column;
  float dense_weight;
  /// The dense operator again: input channels of a tap that are read at a time, of which those that are missing cost what
  /// the others do; and what an output costs beside what tile_columns says, which is of either operator.
  float dense_run;
  float dense_output;
  float gemm_percent;
  float igemm_percent;
  /// What a tile of NHWC images costs beside its columns, dense or not, in columns: biases, clamping, stores.
  float tile_columns;
  /// A byte of weights, which each inference brings from beyond the second cache once.
  float weight_byte;
  /// An addition of its own for one element.
  float addition;
  /// The N:M operator is chosen where it is predicted to be so many times as fast as the dense one: below, the prediction
  /// may be wrong about which is faster.
  float min_speedup;

  /// NHWC images. A weight of a kept column, in percent; a call of the micro-kernel for one tile.
  float nmconv_percent[XNN_MAX_NMCONV_KERNELS];
  float nmconv_call;
  /// The operator itself; padding an image, and an element of it.
  float nhwc_operator;
  float padding;
  float padded_element;
  /// Weights that one task walks through for every block of pixels, in bytes; tasks that each thread should get (1 to 4096,
  /// fractions are cut off).
  float nhwc_task_size;
  float nhwc_tasks;

  /// CNHW images. A weight of a kept column in a block of 1, 2, ... rows, in percent; a call of the micro-kernel for one
  /// block; what a block costs beside its columns, in columns.
  float nmspmm_percent[XNN_MAX_NMSPMM_KERNELS][XNN_MAX_NMSPMM_ROWS];
  float nmspmm_call;
  float block_columns;
  /// Packing one column, in percent; the same where the pixels of a strip are not together in memory; and a tap of as many
  /// pixels as there are in a vector.
  float pack_percent[XNN_MAX_NMSPMM_KERNELS];
  float strided_pack_percent[XNN_MAX_NMSPMM_KERNELS];
  float packed_tap;
  /// The operator itself.
  float cnhw_operator;
  /// Packing a column, for the division into tasks, in weights that pass over it; tasks that each thread should get.
  float packed_column;
  float cnhw_tasks;
  /// Bytes that an input may take to stay in a core's own second cache while the rows pass over it, 0 if that is not
  /// known; and bytes of packed strips that the rows pass over.
  float cache_size;
  float strips_size;

  /// Bringing an image from one layout to the other: itself, an element, an element of an image of more than so many bytes.
  float conversion;
  float converted_element;
  float large_converted_element;
  float large_image_size;
};

/// The element type of images that N:M operators support, by its name as "f32" or "qs8"; xnn_datatype_invalid where there
/// is none of that name.
enum xnn_datatype xnn_get_nm_datatype(const char* name);

/// The name of such an element type, counted from 0; NULL from where on there is none.
const char* xnn_get_nm_datatype_name(size_t index);

/// Query the costs that layers are predicted with on this hardware.
///
/// @param datatype - element type of their images: each has costs of its own, all in the unit of those of f32.
/// @returns xnn_status_invalid_parameter where N:M operators do not support the type.
enum xnn_status xnn_get_nm_costs(
  enum xnn_datatype datatype,
  struct xnn_nm_costs* costs);

/// Change a cost that is known by name.
///
/// @param costs - costs to change.
/// @param name - of a member of struct xnn_nm_costs.
/// @param index - where to begin if it is an array: of nmspmm_percent the strip width, whose rows begin with one row; else 0.
/// @param count - number of values.
/// @param values - numbers; xnn_subgraph_set_nm_costs checks their range.
/// @returns xnn_status_invalid_parameter where there is no such member, or not room for so many values.
enum xnn_status xnn_set_nm_cost(
  struct xnn_nm_costs* costs,
  const char* name,
  size_t index,
  size_t count,
  const float* values);

/// The instruction set whose f32 micro-kernels and costs this hardware gets, as "fma3" or "rvv", then what other ones are
/// chosen by, as in "avx512f.skx.vnni".
const char* xnn_get_nm_isa(void);

/// Bits of a vector of that instruction set, where it does not say how long vectors are; else 0.
size_t xnn_get_nm_vector_length(void);

/// 16 hexadecimal digits that tell the sources of micro-kernels and operators from those of other versions: times that were
/// measured are of these alone.
const char* xnn_get_nm_sources_hash(void);

/// Let Runtimes that are created from a Subgraph afterwards be planned with other costs of an element type; those of other
/// types stay, so that the unit must be theirs. Whatever they are, results stay the same. Layouts stay as they are once a
/// Runtime has brought the graph to CNHW.
///
/// @param subgraph - a Subgraph object.
/// @param datatype - element type of images, one that N:M operators support.
/// @param costs - copied; or NULL for those of this hardware. Each must be a number from 0 to 1e9.
/// @returns xnn_status_invalid_parameter where the type or a number is none of these; then the Subgraph stays as it is.
enum xnn_status xnn_subgraph_set_nm_costs(
  xnn_subgraph_t subgraph,
  enum xnn_datatype datatype,
  const struct xnn_nm_costs* costs);

/// Bytes of a candidate's name with its end.
#define XNN_NM_CANDIDATE_NAME_SIZE 32

/// What one way to run one layer took when it was measured on this hardware.
struct xnn_nm_record {
  /// The layer: element type of its images, their sizes, and those of the filter in each group.
  enum xnn_datatype datatype;
  size_t batch_size;
  size_t input_height;
  size_t input_width;
  size_t output_height;
  size_t output_width;
  size_t groups;
  size_t group_input_channels;
  size_t group_output_channels;
  size_t kernel_height;
  size_t kernel_width;
  size_t stride_height;
  size_t stride_width;
  size_t dilation_height;
  size_t dilation_width;
  /// Non-zero weights out of all; columns with a non-zero in tiles of 8 output channels, and in tiles of 32, out of all. A
  /// layer is this one if each differs by at most 0.02; if several are, the nearest. Paddings are not compared.
  float element_density;
  float column_density_8;
  float column_density_32;
  /// The way: "dense", "nhwc-6x16", "cnhw-4x24": layout, rows and columns of the micro-kernel.
  char candidate[XNN_NM_CANDIDATE_NAME_SIZE];
  /// A number above 0 and up to 1e15.
  float nanoseconds;
};

/// Let Runtimes that are created from a Subgraph afterwards be planned with measured times: of the operators and
/// micro-kernels of a layout that a layer has records for, the fastest is taken, and layouts are chosen by their times.
/// Results stay the same. Records of candidates that this hardware does not have are passed over.
///
/// @param subgraph - a Subgraph object.
/// @param unit_ps - picoseconds of the unit that the Subgraph's costs are in, above 0 and up to 1e9.
/// @param num_records - number of records, up to 16384; 0 to forget them.
/// @param records - copied.
/// @returns xnn_status_invalid_parameter where a number is out of its range; then the Subgraph stays as it is.
enum xnn_status xnn_subgraph_set_nm_records(
  xnn_subgraph_t subgraph,
  float unit_ps,
  size_t num_records,
  const struct xnn_nm_record* records);

/// Why a layer runs on the N:M operator or does not.
enum xnn_nm_reason {
  /// Only static weights of f32, f16 or int8 are supported. Of layers that nobody examined.
  xnn_nm_reason_datatype = 0,
  /// It does: N:M inference is predicted to be faster, or forced.
  xnn_nm_reason_chosen,
  /// The runtime was created without the flags for N:M inference.
  xnn_nm_reason_disabled,
  /// The graph runs in NCHW layout, which has no N:M operator.
  xnn_nm_reason_layout,
  /// Depthwise filters have no columns to share.
  xnn_nm_reason_depthwise,
  /// Too few columns are zero in every row of a tile.
  xnn_nm_reason_too_dense,
  /// No micro-kernel supports this shape on this hardware.
  xnn_nm_reason_no_kernel,
  /// Zero columns would save less than what the N:M operator costs besides on images of this size.
  xnn_nm_reason_too_small,
  /// The dense operator was measured to be faster.
  xnn_nm_reason_measured_slower,
};

/// In which order a layer reads and writes images.
enum xnn_nm_layout {
  xnn_nm_layout_nhwc = 0,
  xnn_nm_layout_cnhw,
};

/// What is known of a layer in a Runtime.
struct xnn_nm_layer_info {
  /// Identifiers of the Node, of its filter and of its output in the Subgraph.
  uint32_t node_id;
  uint32_t filter_id;
  uint32_t output_id;
  uint32_t groups;
  uint32_t group_input_channels;
  uint32_t group_output_channels;
  uint32_t kernel_height;
  uint32_t kernel_width;
  /// Non-zero weights out of all; 0 where the filter was not examined.
  float element_density;
  /// Columns with a non-zero out of all, summed over the tiles; in CNHW layout weights in blocks out of all. 1 where the
  /// filter was not examined.
  float column_density;
  /// Output channels of a tile of the best N:M micro-kernel, the most it can take if there are several, and pixels that it
  /// computes at once; 0 where not examined.
  uint32_t tile_height;
  uint32_t pixel_tile;
  /// Time of the dense operator, and of an addition that is fused, out of the N:M operator's, as predicted; 0 where not
  /// examined. May be no number if costs were set to 0.
  float predicted_speedup;
  /// The time of what it runs on was measured.
  bool measured;
  enum xnn_nm_reason reason;
  /// CNHW: on the N:M operator of that layout, whatever the reason says of the filter.
  enum xnn_nm_layout layout;
  /// The operator adds a second image to its output, and clamps after that.
  bool fused_addition;
};

/// Describe a reason in a few words.
const char* xnn_nm_reason_to_string(enum xnn_nm_reason reason);

/// Query which operator each layer of a Runtime uses, and why.
///
/// @param runtime - a Runtime object.
/// @param count - in: number of elements in infos. out: number of layers in the Runtime.
/// @param infos - array to be filled, in order of execution; NULL to query the number alone. If it is too small,
///                xnn_status_out_of_memory is returned.
enum xnn_status xnn_get_runtime_nm_layer_info(
  xnn_runtime_t runtime,
  size_t* count,
  struct xnn_nm_layer_info* infos);

/// Query how many images are brought from one layout to the other in a Runtime, because N:M layers gain by it.
///
/// @param runtime - a Runtime object.
/// @param count - pointer to the variable that will be initialized with the number of conversions.
enum xnn_status xnn_get_runtime_num_layout_conversions(
  xnn_runtime_t runtime,
  size_t* count);

/// Makes one row of a static Value: the elements whose index in dimension 0 is `row`, in the usual order.
typedef void (*xnn_read_row_fn)(const void* context, size_t row, void* elements);

/// Define a static tensor-type Value whose elements are made row by row when XNNPACK needs them, so that a filter that is
/// stored in another form is nowhere as a whole.
///
/// Only filters of xnn_define_convolution_2d and xnn_define_fully_connected for f32, rewritten for f16 or not, with a static
/// bias or none, can be such Values; creating a Runtime fails where another Node reads one.
///
/// @param subgraph - a Subgraph object that will own the created Value.
/// @param datatype - type of the tensor elements; xnn_datatype_fp32.
/// @param num_dims - number of dimensions in the shape; 4, or 2 for a fully connected layer.
/// @param dims - pointer to an array of num_dims shape dimensions.
/// @param read_row - function that makes a row. It is called while a Runtime is created, more than once for each row,
///                   and must make the same elements each time.
/// @param context - first argument of that function, not NULL. It tells this filter from others in a weights cache, and
///                  must live until all Runtimes are created.
/// @param external_id - external ID for the Value, or XNN_INVALID_VALUE_ID for an internal one.
/// @param id_out - pointer to the variable that will be initialized with the Value ID upon successful return.
enum xnn_status xnn_define_row_tensor_value(
  xnn_subgraph_t subgraph,
  enum xnn_datatype datatype,
  size_t num_dims,
  const size_t* dims,
  xnn_read_row_fn read_row,
  const void* context,
  uint32_t external_id,
  uint32_t* id_out);

#ifdef __cplusplus
}  // extern "C"
#endif
