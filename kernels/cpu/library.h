// The C interface that kernels/cpu_library.py loads.
#pragma once

#include "attention.h"
#include "decoder.h"
#include "elementwise.h"
#include "panel_linear.h"

#define HEADRACE_EXPORT extern "C" __attribute__((visibility("default")))

// Instruction sets by rising demands: 0 portable, 1 avx2, 2 avx512, 3 amx.

// The highest one that was built and that the processor and the operating system offer.
HEADRACE_EXPORT int headrace_supported();
// Compute with this one from now on; not while another thread computes. Returns 0, or 1 if it was
// not built. It is not checked that the processor offers it.
HEADRACE_EXPORT int headrace_select(int64_t instruction_set);
// From now on, attention of what was selected gives a token the same bits however its prompt is cut
// into calls, more slowly where AMX does not.
HEADRACE_EXPORT void headrace_use_invariant_attention();
// Whether what was selected multiplies rows that are rounded to integers (kOffsetWeights).
HEADRACE_EXPORT int headrace_rounds_rows();
// Whether it multiplies rows and weights in tiles (kTiledWeights).
HEADRACE_EXPORT int headrace_multiplies_tiles();
// See threads.h; null: compute on the calling thread only.
HEADRACE_EXPORT void headrace_use_threads(void* parallel_region);
// The sizes of the argument structures in the order of the functions below, so that a library from
// another build is noticed.
HEADRACE_EXPORT void headrace_argument_sizes(int64_t (&sizes)[9]);

// Return one of the codes of status.h.
HEADRACE_EXPORT int headrace_paged_attention(const headrace::AttentionArguments*);
HEADRACE_EXPORT int headrace_write_kv(const headrace::WriteKVArguments*);
HEADRACE_EXPORT int headrace_rms_norm(const headrace::NormArguments*);
HEADRACE_EXPORT int headrace_gated(const headrace::GatedArguments*);
HEADRACE_EXPORT int headrace_rope(const headrace::RopeArguments*);
HEADRACE_EXPORT int headrace_attention_tiles(headrace::TileCount*);
HEADRACE_EXPORT int headrace_panel_linear(const headrace::PanelLinearArguments*);
HEADRACE_EXPORT int headrace_decoder_layers(const headrace::DecoderArguments*);
