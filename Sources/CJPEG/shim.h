// What Swift cannot do: libjpeg reports errors by longjmp, so each call that may fail is wrapped here.
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>

#ifndef LIBJPEG_TURBO_VERSION_NUMBER
#error "libjpeg-turbo's headers are needed: apt-get install libjpeg62-turbo-dev"
#endif

// A JPEG file that is being decoded.
struct jpeg_reader {
  struct jpeg_decompress_struct decoder;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char words[JMSG_LENGTH_MAX];  // what went wrong
};

static void jpeg_reader_fail(j_common_ptr decoder) {
  struct jpeg_reader *reader = (struct jpeg_reader *)decoder->client_data;
  decoder->err->format_message(decoder, reader->words);
  longjmp(reader->escape, 1);
}

// A warning (level -1) means damaged data: the decoder would make up what is missing.
static void jpeg_reader_message(j_common_ptr decoder, int level) {
  if (level < 0) jpeg_reader_fail(decoder);
}

// A small file can claim thousands of progressive scans over a large picture.
static void jpeg_reader_progress(j_common_ptr decoder) {
  struct jpeg_reader *reader = (struct jpeg_reader *)decoder->client_data;
  if (reader->decoder.input_scan_number > 500) {
    snprintf(reader->words, sizeof reader->words, "More than 500 progressive scans");
    longjmp(reader->escape, 1);
  }
}

static inline struct jpeg_reader *jpeg_reader_new(void) {
  struct jpeg_reader *reader = (struct jpeg_reader *)calloc(1, sizeof *reader);
  if (!reader) abort();
  reader->decoder.err = jpeg_std_error(&reader->errors);
  reader->errors.error_exit = jpeg_reader_fail;
  reader->errors.emit_message = jpeg_reader_message;
  reader->decoder.client_data = reader;
  return reader;
}

static inline void jpeg_reader_free(struct jpeg_reader *reader) {
  jpeg_destroy_decompress(&reader->decoder);
  free(reader);
}

// Reads the header; 0, or -1 with words.
static inline int jpeg_reader_open(struct jpeg_reader *reader, const uint8_t *bytes, size_t count) {
  if (setjmp(reader->escape)) return -1;
  jpeg_create_decompress(&reader->decoder);  // keeps err and client_data
  reader->progress.progress_monitor = jpeg_reader_progress;
  reader->decoder.progress = &reader->progress;
  jpeg_mem_src(&reader->decoder, bytes, count);
  jpeg_read_header(&reader->decoder, TRUE);
  return 0;
}

// Decodes all rows, HWC; 0, or -1 with words.
static inline int jpeg_reader_read(
    struct jpeg_reader *reader, J_COLOR_SPACE colours, uint8_t *pixels, size_t row_size) {
  if (setjmp(reader->escape)) return -1;
  struct jpeg_decompress_struct *decoder = &reader->decoder;
  decoder->out_color_space = colours;
  decoder->dct_method = JDCT_ISLOW;
  decoder->do_fancy_upsampling = TRUE;
  decoder->do_block_smoothing = TRUE;
  jpeg_start_decompress(decoder);
  while (decoder->output_scanline < decoder->output_height) {
    JSAMPROW row = pixels + decoder->output_scanline * row_size;
    jpeg_read_scanlines(decoder, &row, 1);
  }
  jpeg_finish_decompress(decoder);
  return 0;
}

static inline const char *jpeg_reader_words(const struct jpeg_reader *reader) { return reader->words; }

// One of the library's messages; NULL behind the last.
static inline const char *jpeg_library_message(int code) {
  struct jpeg_error_mgr errors;
  jpeg_std_error(&errors);
  return code <= errors.last_jpeg_message ? errors.jpeg_message_table[code] : NULL;
}
