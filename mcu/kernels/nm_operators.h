// SPDX-License-Identifier: BSD-3-Clause
//
// Everything but convolutions and fully connected layers. Results are those of TFLite's reference
// kernels, to the bit. Sizes and strides are of elements; a stride of 0 repeats.

#ifndef NM_OPERATORS_H_
#define NM_OPERATORS_H_

#include <stddef.h>
#include <stdint.h>

#define NM_MOST_AXES 6

// TFLite's multiplication by multiplier / 2^32 * 2^left / 2^right with its two roundings; `multiplier` is
// twice TFLite's, and one of the shifts is 0. Values shifted to the left are below 2^30.
struct nm_scale {
  uint32_t multiplier;
  uint8_t left;
  uint8_t right;
};

static inline int32_t nm_rescale(int32_t value, struct nm_scale scale) {
  const int64_t product = (int64_t) (int32_t) ((uint32_t) value << scale.left) * (int64_t) scale.multiplier;
  const int32_t rounded = (int32_t) (product >> 32) + (int32_t) ((uint32_t) product >> 31);
  const int32_t half = (int32_t) ((UINT32_C(1) << scale.right) >> 1);
  // Half away from zero: what is negative and half is rounded down.
  const int32_t away = half != 0 ? -1 : 0;
  return (rounded + half + ((rounded >> 31) & away)) >> scale.right;
}

// The same with one product of which only the high word counts, for values that leave some bits free, and with the zero
// point: those bits are the fraction of the first rounding. `left` is 1 and more above that of struct nm_scale, `right`
// as much above its other; `offset` is the zero point and the first rounding's half; `away` is taken from what is
// negative. `right` is 0 where values are too large for it.
struct nm_fine_scale {
  uint32_t multiplier;
  int32_t offset;
  int32_t away;
  uint8_t left;
  uint8_t right;
};

static inline int32_t nm_rescale_fine(int32_t value, struct nm_fine_scale scale) {
  const int64_t product = (int64_t) (int32_t) ((uint32_t) value << scale.left) * (int64_t) scale.multiplier;
  const int32_t high = (int32_t) (product >> 32);
  const int32_t half = (int32_t) ((UINT32_C(1) << scale.right) >> 1);
  return (high + scale.offset + half - ((high >> 31) & scale.away)) >> scale.right;
}

static inline int8_t nm_clamp_s8(int32_t value, int32_t min, int32_t max) {
  value = value < min ? min : value;
  return (int8_t) (value > max ? max : value);
}

// output[i] = table[(uint8_t) input[i]]; may work in place.
struct nm_lookup_s8 {
  const int8_t *table;  // [256]
  uint32_t count;
};
void nm_lookup_s8(const struct nm_lookup_s8 *p, const int8_t *input, int8_t *output);

// Two operands that are repeated to one shape; the innermost axis is the last of `axes`, with
// strides of 0 or 1. The output is dense.
struct nm_pairs {
  uint8_t axes;
  uint32_t size[NM_MOST_AXES];
  uint32_t stride1[NM_MOST_AXES];
  uint32_t stride2[NM_MOST_AXES];
};
typedef void nm_row_s8(const void *p, size_t count, const int8_t *x, size_t x_stride, const int8_t *y,
                       size_t y_stride, int8_t *output);
void nm_each_row_s8(const struct nm_pairs *pairs, nm_row_s8 *row, const void *p, const int8_t *x, const int8_t *y,
                    int8_t *output);

// What has a constant operand takes it as `constant`, and ends in _constant_s8. All may work in place
// where the other operand has the shape of the output.

// ADD and SUB where one shift does, which the compiler has tried on all pairs of values:
// output = (x * x_factor + y * y_factor + offset) >> shift, clamped.
struct nm_weighted_sum_s8 {
  struct nm_pairs pairs;
  const int8_t *constant;
  int32_t x_factor;
  int32_t y_factor;
  int32_t offset;
  int8_t shift;
  int8_t min;
  int8_t max;
};
void nm_weighted_sum_s8(const struct nm_weighted_sum_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_weighted_sum_constant_s8(const struct nm_weighted_sum_s8 *p, const int8_t *x, int8_t *output);
nm_row_s8 nm_weighted_sum_row_s8;

// The same where no factors do: output = (x_table[(uint8_t) x] + y_table[(uint8_t) y]) >> shift, clamped.
struct nm_table_sum_s8 {
  struct nm_pairs pairs;
  const int8_t *constant;
  const int32_t *x_table;  // [256]
  const int32_t *y_table;
  int8_t shift;
  int8_t min;
  int8_t max;
};
void nm_table_sum_s8(const struct nm_table_sum_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_table_sum_constant_s8(const struct nm_table_sum_s8 *p, const int8_t *x, int8_t *output);
nm_row_s8 nm_table_sum_row_s8;

// SQUARED_DIFFERENCE likewise: with d = x_table[x + 128] - y_table[y + 128], high is the high word of
// d * d * factor, and output = (high + offset) >> shift, clamped.
struct nm_distance_s8 {
  struct nm_pairs pairs;
  const int8_t *constant;
  const int16_t *x_table;  // [256]
  const int16_t *y_table;
  int32_t factor;
  int32_t offset;
  int8_t shift;
  int8_t min;
  int8_t max;
};
void nm_distance_s8(const struct nm_distance_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_distance_constant_s8(const struct nm_distance_s8 *p, const int8_t *x, int8_t *output);
nm_row_s8 nm_distance_row_s8;

// ADD, SUB, MUL, SQUARED_DIFFERENCE and PRELU as TFLite calculates them.
struct nm_arithmetic_s8 {
  struct nm_pairs pairs;
  const int8_t *constant;
  struct nm_scale x_scale;       // of ADD, SUB, SQUARED_DIFFERENCE; PRELU's of what is not negative
  struct nm_scale y_scale;       // likewise; PRELU's of what is negative
  struct nm_scale output_scale;  // of all but PRELU
  int16_t x_zero_point;
  int16_t y_zero_point;
  int16_t output_zero_point;
  int8_t x_sign;                 // -1 of what a difference takes away
  int8_t y_sign;
  int8_t min;
  int8_t max;
  struct nm_fine_scale fine;     // MUL's, where `right` is not 0
};
void nm_add_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_add_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output);
void nm_mul_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_mul_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output);
nm_row_s8 nm_mul_row_s8;
void nm_squared_difference_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_squared_difference_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output);
void nm_prelu_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_prelu_constant_s8(const struct nm_arithmetic_s8 *p, const int8_t *x, int8_t *output);

struct nm_extreme_s8 {
  struct nm_pairs pairs;
  const int8_t *constant;
};
void nm_maximum_s8(const struct nm_extreme_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_maximum_constant_s8(const struct nm_extreme_s8 *p, const int8_t *x, int8_t *output);
void nm_minimum_s8(const struct nm_extreme_s8 *p, const int8_t *x, const int8_t *y, int8_t *output);
void nm_minimum_constant_s8(const struct nm_extreme_s8 *p, const int8_t *x, int8_t *output);

// Pooling of images in NHWC.
struct nm_pool_s8 {
  uint32_t batch;
  uint32_t input_height;
  uint32_t input_width;
  uint32_t channels;
  uint32_t output_height;
  uint32_t output_width;
  uint32_t window_height;
  uint32_t window_width;
  uint32_t stride_height;
  uint32_t stride_width;
  uint32_t pad_top;
  uint32_t pad_left;
  int8_t min;
  int8_t max;
};
// One window: `height` rows of `width` pixels of `channels` bytes, which lie in the image.
typedef void nm_window_s8(const struct nm_pool_s8 *p, const int8_t *input, size_t height, size_t width,
                          int8_t *output);
void nm_each_window_s8(const struct nm_pool_s8 *p, nm_window_s8 *window, const int8_t *input, int8_t *output);
void nm_max_pool_s8(const struct nm_pool_s8 *p, const int8_t *input, int8_t *output);
void nm_average_pool_s8(const struct nm_pool_s8 *p, const int8_t *input, int8_t *output);
// output[i] = the larger of output[i] and input[i].
void nm_max_row_s8(int8_t *output, const int8_t *input, size_t count);
// Adds `rows` bytes, `stride` after one another, to each of four sums; the second sum's begin a byte later, and so on.
void nm_add_columns_s8(int32_t sums[4], const int8_t *input, size_t stride, size_t rows);
// The sum of `count` bytes.
int32_t nm_add_row_s8(const int8_t *input, size_t count);

// MEAN, REDUCE_MAX and REDUCE_MIN: three axes that stay and three that go, of the input; those
// that it does not have are of size 1.
struct nm_reduce_s8 {
  uint32_t kept_size[3];
  uint32_t kept_stride[3];
  uint32_t reduced_size[3];
  uint32_t reduced_stride[3];
  int32_t offset;           // added to a sum
  struct nm_scale scale;
  int16_t output_zero_point;
};
void nm_mean_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output);
void nm_reduce_max_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output);
void nm_reduce_min_s8(const struct nm_reduce_s8 *p, const int8_t *input, int8_t *output);

// ARG_MAX and ARG_MIN of one axis, with `inner` elements between its neighbours.
struct nm_arg_s8 {
  uint32_t outer;
  uint32_t size;
  uint32_t inner;
};
void nm_arg_max_s8_s32(const struct nm_arg_s8 *p, const int8_t *input, int32_t *output);
void nm_arg_min_s8_s32(const struct nm_arg_s8 *p, const int8_t *input, int32_t *output);
void nm_arg_max_s8_s64(const struct nm_arg_s8 *p, const int8_t *input, int64_t *output);
void nm_arg_min_s8_s64(const struct nm_arg_s8 *p, const int8_t *input, int64_t *output);

// SOFTMAX of rows of `depth` values; may work in place. exponentials[255 - d] is exp(-d * scale) in Q0.31,
// and 0 where TFLite drops it.
struct nm_softmax_s8 {
  const uint32_t *exponentials;  // [256]
  uint32_t rows;
  uint32_t depth;
};
// Of `count` values: the largest; the sum of (table[start + value] + 2048) >> 12; what the values become.
int32_t nm_largest_s8(const int8_t *input, size_t count);
uint32_t nm_softmax_sum_s8(const uint32_t *table, int32_t start, const int8_t *input, size_t count);
void nm_softmax_shares_s8(const uint32_t *table, int32_t start, uint32_t reciprocal, uint32_t shift,
                          const int8_t *input, size_t count, int8_t *output);
void nm_softmax_s8(const struct nm_softmax_s8 *p, const int8_t *input, int8_t *output);

// Bytes from one box to another: TRANSPOSE, SLICE, STRIDED_SLICE, SPLIT, CONCATENATION, PACK, TILE, …
// Runs of `run` bytes lie together in both. Strides are of bytes and may be negative.
struct nm_copy {
  const void *constant;     // of nm_copy_constant
  uint32_t run;
  uint8_t axes;
  uint32_t size[NM_MOST_AXES];
  int32_t input_stride[NM_MOST_AXES];
  int32_t output_stride[NM_MOST_AXES];
  uint32_t input_offset;
  uint32_t output_offset;
};
void nm_copy(const struct nm_copy *p, const void *input, void *output);
void nm_copy_constant(const struct nm_copy *p, void *output);

// PAD and PADV2: `count` times `value`, and a box of the input's within.
struct nm_pad_s8 {
  struct nm_copy box;
  uint32_t count;
  int8_t value;
};
void nm_pad_s8(const struct nm_pad_s8 *p, const int8_t *input, int8_t *output);

// GATHER, MIRROR_PAD and RESIZE_NEAREST_NEIGHBOR: a run of bytes for each index of the output; it
// starts where the axes' offsets for this index add up to. offsets holds them axis after axis.
struct nm_remap {
  const uint32_t *offsets;
  uint32_t run;
  uint8_t axes;
  uint32_t size[NM_MOST_AXES];
};
void nm_remap(const struct nm_remap *p, const void *input, void *output);

// RESIZE_BILINEAR of images in NHWC; positions in units of 1/1024.
struct nm_resize_bilinear_s8 {
  uint32_t batch;
  uint32_t input_height;
  uint32_t input_width;
  uint32_t channels;
  uint32_t output_height;
  uint32_t output_width;
  int32_t height_step;
  int32_t width_step;
  int32_t height_start;
  int32_t width_start;
};
void nm_resize_bilinear_s8(const struct nm_resize_bilinear_s8 *p, const int8_t *input, int8_t *output);

// BATCH_MATMUL: output [rows][columns] of each batch from x [rows][depth] and y [columns][depth];
// a matrix that is stored the other way round is turned in scratch first. Strides of up to three
// axes of batches are of matrices.
struct nm_batch_matmul_s8 {
  const int8_t *constant;     // y of nm_batch_matmul_constant_s8
  uint32_t depth;
  uint32_t rows;
  uint32_t columns;
  struct nm_fine_scale fine;  // its `right` is 0 where sums are too large
  struct nm_scale scale;
  int16_t output_zero_point;
  int16_t x_zero_point;
  int16_t y_zero_point;
  uint8_t turn_x;
  uint8_t turn_y;
  uint32_t batch[3];
  uint32_t x_stride[3];
  uint32_t y_stride[3];
};
// Scratch, sizes of bytes rounded up to 4: (rows + columns) int32_t, depth * columns bytes, columns bytes, then
// rows * depth bytes if turn_x is set or depth is not whole words.
void nm_batch_matmul_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, int8_t *output,
                        void *scratch);
void nm_batch_matmul_constant_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, int8_t *output, void *scratch);

// One matrix: rows of x are whole words, with zeros behind them; y is [words of a row][columns rounded up to 4] words of
// four values of a column. output[i][j] is of x_sums[i], y_sums[j], and the products of row i and column j. y_sums may
// be read up to a whole number of four columns. The first of the two makes y_sums.
void nm_product_sums_s8(const struct nm_batch_matmul_s8 *p, const int8_t *y, int32_t *y_sums);
void nm_product_rows_s8(const struct nm_batch_matmul_s8 *p, const int8_t *x, const int8_t *y, const int32_t *x_sums,
                        const int32_t *y_sums, int8_t *output);

// The ends of a network that has float tensors there, without arithmetic in floating point: thresholds[i]
// is the least value that becomes -127 + i, as an integer that orders floats; NaN is taken for infinity.
struct nm_quantize_f32 {
  const int32_t *thresholds;  // [255]
  uint32_t count;
};
void nm_quantize_f32_s8(const struct nm_quantize_f32 *p, const float *input, int8_t *output);

struct nm_dequantize_f32 {
  const float *values;        // [256], by (uint8_t) input
  uint32_t count;
};
void nm_dequantize_s8_f32(const struct nm_dequantize_f32 *p, const int8_t *input, float *output);

#endif  // NM_OPERATORS_H_
