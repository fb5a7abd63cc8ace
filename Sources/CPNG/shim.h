// What Swift cannot do: libpng reports errors by longjmp, so each call that may fail is wrapped here.
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>

// A PNG file that is being decoded.
struct png_reader {
  png_structp decoder;
  png_infop info;
  const uint8_t *bytes;
  size_t left;
  char words[200];  // what went wrong
};

static void png_reader_fail(png_structp decoder, png_const_charp words) {
  struct png_reader *reader = (struct png_reader *)png_get_error_ptr(decoder);
  snprintf(reader->words, sizeof reader->words, "%s", words);
  png_longjmp(decoder, 1);
}

// Warnings are about what is not read: colour profiles, texts, times.
static void png_reader_warn(png_structp decoder, png_const_charp words) {
  (void)decoder;
  (void)words;
}

static void png_reader_take(png_structp decoder, png_bytep target, size_t count) {
  struct png_reader *reader = (struct png_reader *)png_get_io_ptr(decoder);
  if (count > reader->left) png_error(decoder, "the file ends too early");
  memcpy(target, reader->bytes, count);
  reader->bytes += count;
  reader->left -= count;
}

static inline struct png_reader *png_reader_new(const uint8_t *bytes, size_t count) {
  struct png_reader *reader = (struct png_reader *)calloc(1, sizeof *reader);
  if (!reader) abort();
  reader->bytes = bytes;
  reader->left = count;
  reader->decoder = png_create_read_struct(
      PNG_LIBPNG_VER_STRING, reader, png_reader_fail, png_reader_warn);
  if (reader->decoder) reader->info = png_create_info_struct(reader->decoder);
  if (!reader->info) abort();  // no memory, or headers of another libpng
  png_set_read_fn(reader->decoder, reader, png_reader_take);
  return reader;
}

static inline void png_reader_free(struct png_reader *reader) {
  png_destroy_read_struct(&reader->decoder, &reader->info, NULL);
  free(reader);
}

// Reads the header; 0, or -1 with words.
static inline int png_reader_open(struct png_reader *reader) {
  if (setjmp(png_jmpbuf(reader->decoder))) return -1;
  png_read_info(reader->decoder, reader->info);
  return 0;
}

// Decodes all rows as 8-bit grey or RGB, HWC; 0, or -1 with words.
//
// Fewer bits are stretched to 0...255, of 16 the upper 8 are taken, palettes become RGB, alpha is
// left out, and colour profiles and gamma do not count.
static inline int png_reader_read(struct png_reader *reader, uint8_t *pixels, size_t row_size) {
  png_structp decoder = reader->decoder;
  if (setjmp(png_jmpbuf(decoder))) return -1;
  int type = png_get_color_type(decoder, reader->info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(decoder);
  if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(decoder);
  png_set_strip_16(decoder);
  png_set_strip_alpha(decoder);
  int passes = png_set_interlace_handling(decoder);
  png_read_update_info(decoder, reader->info);
  if (png_get_rowbytes(decoder, reader->info) != row_size) png_error(decoder, "unexpected rows");
  png_uint_32 height = png_get_image_height(decoder, reader->info);
  for (int pass = 0; pass < passes; pass++) {
    for (png_uint_32 y = 0; y < height; y++) png_read_row(decoder, pixels + y * row_size, NULL);
  }
  png_read_end(decoder, NULL);
  return 0;
}

static inline const char *png_reader_words(const struct png_reader *reader) { return reader->words; }
