// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Micro-kernels for convolutions of CNHW images: one pixel axis, that runs over batch, rows and columns of the image,
// is cut into strips of consecutive pixels. A packed strip holds the im2col matrix of its pixels, [column][pixel].

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams.h"
#include "xnnpack/nmconv.h"

#ifdef __cplusplus
extern "C" {
#endif

// Upper bound on the output channels that any micro-kernel computes at once.
#define XNN_MAX_NMSPMM_MR 31
// Entries of an offset list that must be readable beyond its last column, and lead to readable columns, too:
// micro-kernels fetch so many columns ahead.
#define XNN_EXTRA_NMSPMM_OFFSETS 8

// Computes nc pixels of MR output channels in strips of NR, the last of which may be short. MR and NR are the
// micro-kernel's.
//
//   c[m][n] = clamp(bias[m] + residual[m][n] + sum_k a[offsets[k]][n] * w[k][m]),  m < MR,  n < nc
//
// nc         pixels, at least 1; any number.
// kc         columns, may be 0.
// a          the first pixel of the first strip.
// a_stride   distance in bytes from there to the first pixel of the next strip; not used for one strip.
// offsets    distance in bytes from a strip's first pixel to that of each column, and XNN_EXTRA_NMSPMM_OFFSETS entries
//            more. For dense micro-kernels one entry, the distance from each column to the next.
// w          MR biases, then MR weights for each column.
// residual   the first of MR rows of nc pixels to add, or NULL. May be c.
// c          the first of MR rows of nc pixels.
// cm_stride  distance in bytes from each row of residual and c to the next.
typedef void (*xnn_f32_nmspmm_minmax_ukernel_fn)(
    size_t nc,
    size_t kc,
    const float* a,
    size_t a_stride,
    const int32_t* offsets,
    const float* w,
    const float* residual,
    float* c,
    size_t cm_stride,
    const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense) \
    XNN_INTERNAL void ukernel(                                    \
        size_t nc,                                                \
        size_t kc,                                                \
        const float* a,                                           \
        size_t a_stride,                                          \
        const int32_t* offsets,                                   \
        const float* w,                                           \
        const float* residual,                                    \
        float* c,                                                 \
        size_t cm_stride,                                         \
        const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f32-nmspmm/f32-nmspmm-minmax.h"
#undef XNN_UKERNEL

// Where the pixels of a strip read the image.
//
// y, x     row and column of each pixel's tap (0, 0); may lie outside of the image.
// base     distance in bytes from channel 0 of the first pixel of the first image to where that tap is, or would be if
//          the image went on.
// stride   distance in bytes from each pixel's base to the next one's where it is the same for all of the strip, else 0.
struct xnn_im2col_strip {
  const int32_t* y;
  const int32_t* x;
  const int32_t* base;
  size_t stride;
};

// A tap of the kernel: how far it lies below, right of, and in bytes behind tap (0, 0).
struct xnn_im2col_tap {
  int32_t dy;
  int32_t dx;
  int32_t distance;
};

// Brings one tap of kc channels of nc pixels into rows of the output.
//
//   output[k][n] = op(output[k][n], inside(n) ? input[channels[k]][base[n] + distance] : padding)
//   inside(n): 0 <= y[n] + dy < height and 0 <= x[n] + dx < width
//
// where op takes its second operand (packim2col), the maximum (maxpool) or the sum (avgpool). Nothing is read for
// pixels that are not inside.
//
// nc             pixels, at least 1; any number.
// kc             channels, at least 1.
// input          channel 0 of the first pixel of the first image.
// channels       distance in bytes from there to each channel's plane.
// height, width  of one image.
// padding        bits of the value outside of images.
// output         kc rows of nc pixels.
// output_stride  distance in bytes from each row of output to the next.
typedef void (*xnn_x32_packim2col_ukernel_fn)(
    size_t nc,
    size_t kc,
    const void* input,
    const int32_t* channels,
    const struct xnn_im2col_strip* strip,
    const struct xnn_im2col_tap* tap,
    uint32_t height,
    uint32_t width,
    uint32_t padding,
    void* output,
    size_t output_stride);

#define XNN_UKERNEL(arch_flags, ukernel, op)     \
    XNN_INTERNAL void ukernel(                   \
        size_t nc,                               \
        size_t kc,                               \
        const void* input,                       \
        const int32_t* channels,                 \
        const struct xnn_im2col_strip* strip,    \
        const struct xnn_im2col_tap* tap,        \
        uint32_t height,                         \
        uint32_t width,                          \
        uint32_t padding,                        \
        void* output,                            \
        size_t output_stride);
#include "x32-packim2col/x32-packim2col.h"
#undef XNN_UKERNEL

// Micro-kernels of one strip width.
struct xnn_nmspmm_config {
  // For 1, 2, ... mr rows; NULL where there is none, never for one row.
  xnn_f32_nmspmm_minmax_ukernel_fn ukernel[XNN_MAX_NMSPMM_MR];
  xnn_f32_nmspmm_minmax_ukernel_fn dense_ukernel[XNN_MAX_NMSPMM_MR];
  xnn_x32_packim2col_ukernel_fn pack;
  size_t (*init)(union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)], float output_min, float output_max);
  // Time for one weight of a kept column in a block of 1, 2, ... mr rows, in percent of the dense NHWC micro-kernel's
  // for one weight.
  uint16_t relative_cost[XNN_MAX_NMSPMM_MR];
  // The same for packing one column; and where the pixels of a strip are not together in memory, 0 if that is the same.
  uint16_t pack_cost;
  uint16_t strided_pack_cost;
  uint8_t mr;
  // Pixels of a strip: 8 registers of 1024 bits hold 256, so not a byte.
  uint16_t nr;
  // Pixels that cost the same whether they are there or not.
  uint16_t granularity;
  // Bytes that an input may take to stay in a core's own second cache while the rows pass over it; 0 if that is not known.
  uint32_t cache_size;
};

// The micro-kernels for this hardware, XNN_MAX_F32_NMSPMM_CONFIGS entries; those with an mr of 0 are unused.
#define XNN_MAX_F32_NMSPMM_CONFIGS 4
XNN_INTERNAL const struct xnn_nmspmm_config* xnn_init_f32_nmspmm_config();

// How a filter's rows are cut into blocks, so that its kept columns cost least.
struct xnn_nmspmm_analysis {
  const struct xnn_nmspmm_config* config;
  // Rows of each block, group after group. Owned: release with xnn_release_nmspmm_analysis.
  uint8_t* block_rows;
  // Owned, too. Of each row row_words words: bit k % 64 of word k / 64 is set where column k holds a non-zero.
  uint64_t* nonzeroes;
  size_t row_words;
  // In all groups.
  size_t num_blocks;
  // Kept columns summed over all blocks, weights in them, and columns that any block of their group keeps.
  size_t num_columns;
  size_t num_weights;
  size_t num_packed;
  size_t num_nonzeroes;
  // Every block keeps every column.
  bool dense;
  // Time for one pixel, in weights of the dense NHWC micro-kernel.
  float cost;
};

// Finds the micro-kernels and the blocks that run a filter fastest.
//
// pixels    number of output pixels, or 0 if it is not known: strips that it does not fill cost the more.
// in_place  columns need no packing.
// strided   pixels that a strip reads are not together in memory.
// Returns xnn_status_unsupported_parameter when columns can't be indexed with 32 bits.
XNN_INTERNAL enum xnn_status xnn_analyze_f32_nmspmm_w(
  size_t groups,
  size_t group_output_channels,
  size_t kernel_size,
  size_t group_input_channels,
  size_t pixels,
  bool in_place,
  bool strided,
  const struct xnn_filter_rows* filter,
  struct xnn_nmspmm_analysis* analysis);

XNN_INTERNAL void xnn_release_nmspmm_analysis(struct xnn_nmspmm_analysis* analysis);

// Rows that share a column list, and the columns of one part.
struct xnn_nmspmm_segment {
  // First output channel.
  uint32_t channel;
  uint32_t rows;
  // Index of the first column, and their number.
  uint32_t first_column;
  uint32_t num_columns;
  // Index of the first float: biases (zero in all but a group's first part), then weights.
  size_t first_weight;
};

// Columns of one group that are packed at once: all of them, unless strips grew too large for cache.
struct xnn_nmspmm_part {
  uint32_t first_segment;
  uint32_t num_segments;
  uint32_t first_packed;
  uint32_t num_packed;
  // Within the group.
  bool is_first;
  bool is_last;
};

// Views into one block of memory that depends on no address: it can be shared through a weights cache.
struct xnn_nmspmm_filter {
  float* weights;
  struct xnn_nmspmm_segment* segments;
  struct xnn_nmspmm_part* parts;
  // Of each segment's columns the index among its part's packed columns. Empty if the filter is dense.
  uint32_t* columns;
  // Of each packed column the index into K, ascending in each group.
  uint32_t* packed;
  size_t num_parts;
  // Bytes of it all.
  size_t size;
};

// Lays out the memory of a filter of groups that pack at most part_columns columns at once; 0: all.
XNN_INTERNAL struct xnn_nmspmm_filter xnn_layout_f32_nmspmm_w(
  const struct xnn_nmspmm_analysis* analysis,
  size_t groups,
  size_t group_output_channels,
  size_t row_size,
  size_t part_columns,
  void* memory);

// Fills that memory.
XNN_INTERNAL enum xnn_status xnn_pack_f32_nmspmm_w(
  const struct xnn_nmspmm_analysis* analysis,
  size_t groups,
  size_t group_output_channels,
  size_t row_size,
  size_t part_columns,
  const struct xnn_filter_rows* rows,
  const float* bias,
  struct xnn_nmspmm_filter* filter);

// CNHW values between convolutions can lie in bands: as many as there are threads, stored as [channels][pixels] one
// after another. All have the same size; the last may use less of it, so that the value takes more memory than the
// image. A thread's pixels are together; where two take turns in each channel, processors fetch ahead for one what the
// other writes.
//
// Of an input: for CNHW convolutions of one group with a 1x1 kernel and no padding, and for layout conversions.
#define XNN_FLAG_INPUT_BANDS 0x00010000
// Of an output, and of what the convolution adds to it.
#define XNN_FLAG_OUTPUT_BANDS 0x00020000

// Pixels that a band of a value has room for: all if bands would be narrow, or the last much smaller than the others.
XNN_INTERNAL size_t xnn_get_nmspmm_band_pixels(size_t num_pixels, size_t num_threads);

// The strips of an image. None crosses the border of a band of the output.
struct xnn_im2col_strips {
  // Of all pixels; stride is not used.
  struct xnn_im2col_strip pixels;
  // Of each strip.
  const uint32_t* strides;
  size_t num_pixels;
  size_t num_strips;
};

// Cuts the output pixels of an operator, whose sizes are resolved, into strips of nr.
//
// pixel_stride, channel_stride  distances in bytes in the input; if it lies in bands, a channel's bytes in all of them.
// input_band_pixels             of each band of the input; 0 if it does not lie in bands, or is not packed.
// band_pixels                   of each band that strips shall not cross; 0 if there are none.
// Returns xnn_status_unsupported_parameter where a distance in the padded input does not fit 32 bits.
XNN_INTERNAL enum xnn_status xnn_reshape_im2col_strips(
    xnn_operator_t op,
    size_t pixel_stride,
    size_t channel_stride,
    size_t nr,
    size_t input_band_pixels,
    size_t band_pixels,
    struct xnn_im2col_strips* strips);

// Where a tap lies, counted over rows and columns of the kernel.
XNN_INTERNAL struct xnn_im2col_tap xnn_get_im2col_tap(const struct xnn_operator* op, size_t pixel_stride, size_t tap);

// What an operator keeps from creation to reshape.
struct xnn_nmspmm_state {
  const struct xnn_nmspmm_config* config;
  uint32_t num_columns;
  uint32_t num_packed;
  size_t num_weights;
  bool dense;
  bool in_place;
  // In bytes, with all bands; known once reshaped.
  size_t output_size;
};

// A tap and the packed columns that it holds.
struct xnn_nmspmm_pack_step {
  struct xnn_im2col_tap tap;
  uint32_t first_packed;
  uint32_t num_packed;
};

struct nmspmm_context {
  const void* input;
  const void* residual;
  void* output;
  size_t input_group_stride;
  // Bytes of one channel of the output, or of a band of it.
  size_t output_channel_stride;
  // Distance in bytes from the first pixel of a band to that of the next; of the input, if it is read in place.
  size_t input_band_stride;
  size_t output_band_stride;
  const float* weights;
  const struct xnn_nmspmm_part* parts;
  const struct xnn_nmspmm_segment* segments;
  size_t num_parts;
  // Distance of each kept column; of each packed column's channel.
  const int32_t* offsets;
  const int32_t* channels;
  const struct xnn_nmspmm_pack_step* steps;
  // Index of each part's first step, and one past the last. NULL: columns are read in place.
  const uint32_t* part_steps;
  struct xnn_im2col_strip pixels;
  // Of each strip.
  const uint32_t* strip_strides;
  uint32_t input_height;
  uint32_t input_width;
  // If there is more than one band, there is one for each thread.
  size_t num_bands;
  // Of one band. The last may have fewer pixels.
  size_t num_pixels;
  size_t num_strips;
  size_t last_band_pixels;
  size_t num_threads;
  // Strips of one task; tasks that each thread gets, each in so many parts by rows.
  size_t task_strips;
  size_t thread_tasks;
  size_t row_tasks;
  // What is left: all threads share it.
  size_t last_tasks;
  size_t last_row_tasks;
  void* scratch;
  size_t thread_scratch_size;
  // Bytes of a packed column, and of a packed strip.
  size_t column_size;
  size_t strip_size;
  size_t nr;
  bool dense;
  // Index of the first kernel of a table: one row.
  const xnn_f32_nmspmm_minmax_ukernel_fn* ukernel;
  xnn_x32_packim2col_ukernel_fn pack;
  union xnn_f32_minmax_params params;
  // Without clamp, for all but the last part.
  union xnn_f32_minmax_params linear_params;
};

// Analyzes the filter of checked arguments for images of that many pixels; 0 if it is not known.
struct xnn_nm_convolution2d;
XNN_INTERNAL enum xnn_status xnn_analyze_convolution2d_nm_cnhw_f32(
    const struct xnn_nm_convolution2d* conv,
    size_t pixels,
    struct xnn_nmspmm_analysis* analysis);

// Creates the operator from checked arguments and an analyzed filter.
XNN_INTERNAL enum xnn_status xnn_create_analyzed_convolution2d_nm_cnhw_f32(
    const struct xnn_nm_convolution2d* conv,
    const struct xnn_nmspmm_analysis* analysis,
    xnn_weights_cache_t weights_cache,
    xnn_operator_t* convolution_op_out);

// Packed strips that the rows pass over, in bytes: a part of L2 that leaves room for the weights.
#define XNN_NMSPMM_STRIPS_SIZE (256 * 1024)

// Cuts the work of an operator with num_blocks blocks of rows into tasks: sets num_threads, task_strips, how many tasks
// of each kind there are, and thread_scratch_size of a context whose other members are set, but for pointers to images.
XNN_INTERNAL void xnn_plan_nmspmm(
    struct nmspmm_context* context,
    size_t input_size,
    size_t cache_size,
    size_t num_blocks,
    size_t num_packed,
    size_t num_weights,
    size_t num_threads);

// Runs a task of the share of some thread: first come those that it has to itself, then its part of what all share.
XNN_INTERNAL void xnn_compute_nmspmm(
    const struct nmspmm_context* context,
    size_t thread_index,
    size_t share,
    size_t task);

#ifdef __cplusplus
}  // extern "C"
#endif
