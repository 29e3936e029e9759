#ifndef TFAOT_ABI_VERSION
#define TFAOT_ABI_VERSION 3
/*
 * Types shared by all models that tfaot compiled, version 3. Structures only ever grow at their
 * end, and then the version grows too; struct_bytes tells how much of one is there.
 */

/* Element types without a counterpart in every C and C++: their bits in memory. */
typedef uint8_t tfaot_bool;      /* 0 or 1 */
typedef uint8_t tfaot_float8;    /* 8-bit float of either kind */
typedef uint16_t tfaot_float16;  /* IEEE 754 binary16 */
typedef uint16_t tfaot_bfloat16; /* the upper half of a binary32 */
typedef struct tfaot_complex64 {
  float re, im; /* laid out as float _Complex and std::complex<float> */
} tfaot_complex64;
typedef struct tfaot_complex128 {
  double re, im; /* laid out as double _Complex and std::complex<double> */
} tfaot_complex128;

/* Element types; 4-bit integers take a byte each. */
enum tfaot_dtype {
  TFAOT_PRED = 1,
  TFAOT_S4 = 2,
  TFAOT_S8 = 3,
  TFAOT_S16 = 4,
  TFAOT_S32 = 5,
  TFAOT_S64 = 6,
  TFAOT_U4 = 7,
  TFAOT_U8 = 8,
  TFAOT_U16 = 9,
  TFAOT_U32 = 10,
  TFAOT_U64 = 11,
  TFAOT_F8E4M3FN = 12,
  TFAOT_F8E5M2 = 13,
  TFAOT_F16 = 14,
  TFAOT_BF16 = 15,
  TFAOT_F32 = 16,
  TFAOT_F64 = 17,
  TFAOT_C64 = 18,
  TFAOT_C128 = 19
};

/* What a run returns. Buffers are written only where it is TFAOT_OK. */
enum tfaot_status {
  TFAOT_OK = 0,
  TFAOT_NEGATIVE_BATCH = 1,
  TFAOT_NULL_POINTER = 2,
  TFAOT_MISALIGNED_WORKSPACE = 3,
  TFAOT_BATCH_TOO_LARGE = 4,
  TFAOT_UNSUPPORTED_BATCH = 5, /* compiled for fixed batch sizes only, and this is none of them */
  TFAOT_OUT_OF_MEMORY = 6,     /* the C++ class alone, where it allocates the workspace itself */
  TFAOT_SIZE_MISMATCH = 7,     /* the C++ class alone, where it takes vectors or spans */
  TFAOT_UNSUPPORTED_CPU = 8,   /* the CPU has none of the instruction sets compiled for */
  TFAOT_UNKNOWN_ISA = 9,       /* the C++ class alone, where TFAOT_MAX_ISA is no level */
  TFAOT_WRONG_PARTS = 10,      /* no sizes compiled for, or too few or too many of them */
  /* Weights in a file of their own: what a run, or attaching and mapping a file, returns. */
  TFAOT_NO_WEIGHTS = 11,         /* none were attached before the run */
  TFAOT_WRONG_WEIGHTS = 12,      /* of another structure, of a newer format, or no weights at all */
  TFAOT_TRUNCATED_WEIGHTS = 13,  /* the end of the file is missing */
  TFAOT_CORRUPT_WEIGHTS = 14,    /* the contents don't have the checksum that the file tells */
  TFAOT_MISALIGNED_WEIGHTS = 15, /* not at an address that is a multiple of 64 */
  TFAOT_UNREADABLE_WEIGHTS = 16, /* there is no such file, or it can't be mapped */
  TFAOT_SELF_TEST_FAILED = 17    /* the golden rows came out otherwise on this CPU */
};

static inline const char *tfaot_status_string(int status) {
  switch (status) {
    case TFAOT_OK: return "ok";
    case TFAOT_NEGATIVE_BATCH: return "negative batch size";
    case TFAOT_NULL_POINTER: return "null pointer";
    case TFAOT_MISALIGNED_WORKSPACE: return "workspace is not aligned to 64 bytes";
    case TFAOT_BATCH_TOO_LARGE: return "batch size is too large";
    case TFAOT_UNSUPPORTED_BATCH: return "batch size is none of those compiled for";
    case TFAOT_OUT_OF_MEMORY: return "out of memory";
    case TFAOT_SIZE_MISMATCH: return "buffer has the wrong number of elements";
    case TFAOT_UNSUPPORTED_CPU: return "the CPU has none of the instruction sets compiled for";
    case TFAOT_UNKNOWN_ISA: return "TFAOT_MAX_ISA is none of x86-64-v2, x86-64-v3, x86-64-v4";
    case TFAOT_WRONG_PARTS: return "the parts do not make up the batch size";
    case TFAOT_NO_WEIGHTS: return "no weights are attached";
    case TFAOT_WRONG_WEIGHTS: return "weights are not for this model's structure";
    case TFAOT_TRUNCATED_WEIGHTS: return "weights are truncated";
    case TFAOT_CORRUPT_WEIGHTS: return "weights are corrupt";
    case TFAOT_MISALIGNED_WEIGHTS: return "weights are not aligned to 64 bytes";
    case TFAOT_UNREADABLE_WEIGHTS: return "weights can't be read";
    case TFAOT_SELF_TEST_FAILED: return "the golden rows came out otherwise on this CPU";
    default: return "unknown status";
  }
}

/* How a model meets its batch axis. */
enum tfaot_batch_kind {
  TFAOT_BATCH_NONE = 0,    /* no batch axis: the batch argument is ignored, pass 1 */
  TFAOT_BATCH_STATIC = 1,  /* compiled for some sizes, composed to others where rows allow */
  TFAOT_BATCH_SYMBOLIC = 2 /* any size */
};

/*
 * A dimension of size scale * batch + offset; scale is 0 for a fixed size. Where scale is 0 and
 * offset negative, the size has no rule: it is that of row -1 - offset of listed_sizes.
 */
struct tfaot_dim {
  int64_t scale;
  int64_t offset;
};

/* One input or output. */
struct tfaot_tensor_info {
  const char *name;   /* the model's own name for it, UTF-8 */
  const char *c_name; /* its name in this header */
  int32_t dtype;      /* enum tfaot_dtype */
  int32_t rank;
  const struct tfaot_dim *dims; /* rank of them, outermost first; NULL for rank 0 */
};

/* A model. Strings are UTF-8, never NULL, empty where unknown; arrays are NULL where empty. */
struct tfaot_model_info {
  uint32_t abi_version;  /* TFAOT_ABI_VERSION of the object */
  uint32_t struct_bytes; /* sizeof(struct tfaot_model_info) of the object */
  const char *name;
  const char *model_version;
  const char *description;
  const char *author;
  const char *source_digest; /* SHA-256 of the model compiled, in hex */
  const char *tfaot_version;
  const char *llvm_version;
  const char *tensorflow_version;
  const char *target_triple;
  const char *target_cpu; /* where there are several levels, all of them: "A, B" */
  const char *target_features; /* LLVM features, separated by commas */
  int32_t num_inputs;
  int32_t num_outputs;
  const struct tfaot_tensor_info *inputs;
  const struct tfaot_tensor_info *outputs;
  int32_t batch_kind; /* enum tfaot_batch_kind */
  int32_t rows_independent;
  int64_t num_batch_sizes; /* TFAOT_BATCH_STATIC alone */
  const int64_t *batch_sizes;
  int64_t workspace_bytes; /* -1 where it grows with the batch size */
  int64_t workspace_alignment;
  int64_t weights_bytes;
  int64_t parameter_bytes;
  int64_t code_bytes;
  const int64_t *listed_sizes; /* rows of num_batch_sizes: sizes at each of batch_sizes */
  /*
   * The model's functions, for programs that learn at run time what it takes: run has one pointer
   * for each of inputs and outputs, in their order. set_max_isa is NULL where there is one level.
   */
  int (*run)(int64_t batch, const void *const *inputs, void *const *outputs, void *workspace);
  int64_t (*workspace_bytes_for)(int64_t batch);
  int (*set_max_isa)(int most);
  int64_t stack_bytes; /* the most stack that a call takes; -1 where unknown */
  int64_t data_bytes;  /* what the object loads besides weights and code */
  const char *weights_structure; /* what a file of weights must fit, in hex; empty: none is needed */
  int64_t weights_file_bytes;    /* its length, 0 where none is needed */
  int (*attach_weights)(const void *data, int64_t bytes); /* NULL where none is needed */
  int64_t self_test_bytes;        /* memory that self_test takes, 0 where there is none */
  int (*self_test)(void *memory); /* NULL where the object has no golden rows */
};
#elif TFAOT_ABI_VERSION < 3
#error "include the header of the model that the newest tfaot compiled first"
#endif
