// The part of ONNX Runtime's C interface that we use, declared by us: the Python wheel brings the shared library
// without its header, and a library that is linked would have to be there at start.
//
// `OrtGetApiBase` gives a table of functions. The table only ever grows at its end (upstream guards places with
// static assertions), so a function is known by its place. Places were compared with upstream's headers of API
// versions 13 and 29 and run on the libraries 1.20.1, 1.28.2 and 1.31.1.
#ifndef LOGITCACHE_ONNXRUNTIME_TABLE_H
#define LOGITCACHE_ONNXRUNTIME_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct OrtStatus OrtStatus;  // of a failed call; null when it succeeded
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtValue OrtValue;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorInfo OrtTensorInfo;  // upstream: OrtTensorTypeAndShapeInfo
typedef struct OrtModelMetadata OrtModelMetadata;

// Names of functions are upstream's; the numbers are their places.
typedef struct {
  void *_Nonnull place0[1];
  int (*_Nonnull GetErrorCode)(const OrtStatus *_Nonnull);
  const char *_Nonnull (*_Nonnull GetErrorMessage)(const OrtStatus *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull CreateEnv)(int level, const char *_Nonnull name, OrtEnv *_Nullable *_Nonnull);
  void *_Nonnull place4[4];
  OrtStatus *_Nullable (*_Nonnull CreateSessionFromArray)(
      OrtEnv *_Nonnull, const void *_Nonnull model, size_t bytes, OrtSessionOptions *_Nonnull,
      OrtSession *_Nullable *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull Run)(
      OrtSession *_Nonnull, OrtRunOptions *_Nullable, const char *_Nonnull const *_Nonnull inputNames,
      OrtValue *_Nonnull const *_Nonnull inputs, size_t inputCount, const char *_Nonnull const *_Nonnull outputNames,
      size_t outputCount, OrtValue *_Nullable *_Nonnull outputs);
  OrtStatus *_Nullable (*_Nonnull CreateSessionOptions)(OrtSessionOptions *_Nullable *_Nonnull);
  void *_Nonnull place11[12];
  OrtStatus *_Nullable (*_Nonnull SetSessionGraphOptimizationLevel)(OrtSessionOptions *_Nonnull, int level);
  OrtStatus *_Nullable (*_Nonnull SetIntraOpNumThreads)(OrtSessionOptions *_Nonnull, int threads);
  OrtStatus *_Nullable (*_Nonnull SetInterOpNumThreads)(OrtSessionOptions *_Nonnull, int threads);
  void *_Nonnull place26[4];
  OrtStatus *_Nullable (*_Nonnull SessionGetInputCount)(const OrtSession *_Nonnull, size_t *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull SessionGetOutputCount)(const OrtSession *_Nonnull, size_t *_Nonnull);
  void *_Nonnull place32[1];
  OrtStatus *_Nullable (*_Nonnull SessionGetInputTypeInfo)(
      const OrtSession *_Nonnull, size_t index, OrtTypeInfo *_Nullable *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull SessionGetOutputTypeInfo)(
      const OrtSession *_Nonnull, size_t index, OrtTypeInfo *_Nullable *_Nonnull);
  void *_Nonnull place35[1];
  OrtStatus *_Nullable (*_Nonnull SessionGetInputName)(
      const OrtSession *_Nonnull, size_t index, OrtAllocator *_Nonnull, char *_Nullable *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull SessionGetOutputName)(
      const OrtSession *_Nonnull, size_t index, OrtAllocator *_Nonnull, char *_Nullable *_Nonnull);
  void *_Nonnull place38[11];
  OrtStatus *_Nullable (*_Nonnull CreateTensorWithDataAsOrtValue)(
      const OrtMemoryInfo *_Nonnull, void *_Nonnull data, size_t bytes, const int64_t *_Nonnull dimensions,
      size_t rank, int elementType, OrtValue *_Nullable *_Nonnull);
  void *_Nonnull place50[1];
  OrtStatus *_Nullable (*_Nonnull GetTensorMutableData)(OrtValue *_Nonnull, void *_Nullable *_Nonnull);
  void *_Nonnull place52[3];
  // The result belongs to the type; null when the value is no tensor.
  OrtStatus *_Nullable (*_Nonnull CastTypeInfoToTensorInfo)(
      const OrtTypeInfo *_Nonnull, const OrtTensorInfo *_Nullable *_Nonnull);
  void *_Nonnull place56[4];
  OrtStatus *_Nullable (*_Nonnull GetTensorElementType)(const OrtTensorInfo *_Nonnull, int *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull GetDimensionsCount)(const OrtTensorInfo *_Nonnull, size_t *_Nonnull);
  OrtStatus *_Nullable (*_Nonnull GetDimensions)(const OrtTensorInfo *_Nonnull, int64_t *_Nonnull, size_t rank);
  void *_Nonnull place63[2];
  OrtStatus *_Nullable (*_Nonnull GetTensorTypeAndShape)(const OrtValue *_Nonnull, OrtTensorInfo *_Nullable *_Nonnull);
  void *_Nonnull place66[3];
  OrtStatus *_Nullable (*_Nonnull CreateCpuMemoryInfo)(
      int allocatorType, int memoryType, OrtMemoryInfo *_Nullable *_Nonnull);
  void *_Nonnull place70[6];
  OrtStatus *_Nullable (*_Nonnull AllocatorFree)(OrtAllocator *_Nonnull, void *_Nonnull);
  void *_Nonnull place77[1];
  OrtStatus *_Nullable (*_Nonnull GetAllocatorWithDefaultOptions)(OrtAllocator *_Nullable *_Nonnull);
  void *_Nonnull place79[13];
  void (*_Nonnull ReleaseEnv)(OrtEnv *_Nonnull);
  void (*_Nonnull ReleaseStatus)(OrtStatus *_Nonnull);
  void (*_Nonnull ReleaseMemoryInfo)(OrtMemoryInfo *_Nonnull);
  void (*_Nonnull ReleaseSession)(OrtSession *_Nonnull);
  void (*_Nonnull ReleaseValue)(OrtValue *_Nonnull);
  void *_Nonnull place97[1];
  void (*_Nonnull ReleaseTypeInfo)(OrtTypeInfo *_Nonnull);
  void (*_Nonnull ReleaseTensorTypeAndShapeInfo)(OrtTensorInfo *_Nonnull);
  void (*_Nonnull ReleaseSessionOptions)(OrtSessionOptions *_Nonnull);
  void *_Nonnull place101[10];
  OrtStatus *_Nullable (*_Nonnull SessionGetModelMetadata)(
      const OrtSession *_Nonnull, OrtModelMetadata *_Nullable *_Nonnull);
  void *_Nonnull place112[4];
  // The text is to be freed; null when the model has no such key.
  OrtStatus *_Nullable (*_Nonnull ModelMetadataLookupCustomMetadataMap)(
      const OrtModelMetadata *_Nonnull, OrtAllocator *_Nonnull, const char *_Nonnull key,
      char *_Nullable *_Nonnull);
  void *_Nonnull place117[1];
  void (*_Nonnull ReleaseModelMetadata)(OrtModelMetadata *_Nonnull);
} OrtTable;

typedef struct {
  // Null, and a line on standard error, when the library is too old for `version`.
  const OrtTable *_Nullable (*_Nonnull GetApi)(uint32_t version);
  const char *_Nonnull (*_Nonnull GetVersionString)(void);
} OrtBase;

// The exported function `OrtGetApiBase`.
typedef const OrtBase *_Nullable (*OrtGetBase)(void);

// The first API version that has everything above; model metadata came last.
enum { OrtTableVersion = 2 };

#define LOGITCACHE_PLACE(name, place) \
  _Static_assert(offsetof(OrtTable, name) == (place) * sizeof(void *), #name " is not at its place")
LOGITCACHE_PLACE(GetErrorCode, 1);
LOGITCACHE_PLACE(GetErrorMessage, 2);
LOGITCACHE_PLACE(CreateEnv, 3);
LOGITCACHE_PLACE(CreateSessionFromArray, 8);
LOGITCACHE_PLACE(Run, 9);
LOGITCACHE_PLACE(CreateSessionOptions, 10);
LOGITCACHE_PLACE(SetSessionGraphOptimizationLevel, 23);
LOGITCACHE_PLACE(SetIntraOpNumThreads, 24);
LOGITCACHE_PLACE(SetInterOpNumThreads, 25);
LOGITCACHE_PLACE(SessionGetInputCount, 30);
LOGITCACHE_PLACE(SessionGetOutputCount, 31);
LOGITCACHE_PLACE(SessionGetInputTypeInfo, 33);
LOGITCACHE_PLACE(SessionGetOutputTypeInfo, 34);
LOGITCACHE_PLACE(SessionGetInputName, 36);
LOGITCACHE_PLACE(SessionGetOutputName, 37);
LOGITCACHE_PLACE(CreateTensorWithDataAsOrtValue, 49);
LOGITCACHE_PLACE(GetTensorMutableData, 51);
LOGITCACHE_PLACE(CastTypeInfoToTensorInfo, 55);
LOGITCACHE_PLACE(GetTensorElementType, 60);
LOGITCACHE_PLACE(GetDimensionsCount, 61);
LOGITCACHE_PLACE(GetDimensions, 62);
LOGITCACHE_PLACE(GetTensorTypeAndShape, 65);
LOGITCACHE_PLACE(CreateCpuMemoryInfo, 69);
LOGITCACHE_PLACE(AllocatorFree, 76);
LOGITCACHE_PLACE(GetAllocatorWithDefaultOptions, 78);
LOGITCACHE_PLACE(ReleaseEnv, 92);
LOGITCACHE_PLACE(ReleaseStatus, 93);
LOGITCACHE_PLACE(ReleaseMemoryInfo, 94);
LOGITCACHE_PLACE(ReleaseSession, 95);
LOGITCACHE_PLACE(ReleaseValue, 96);
LOGITCACHE_PLACE(ReleaseTypeInfo, 98);
LOGITCACHE_PLACE(ReleaseTensorTypeAndShapeInfo, 99);
LOGITCACHE_PLACE(ReleaseSessionOptions, 100);
LOGITCACHE_PLACE(SessionGetModelMetadata, 111);
LOGITCACHE_PLACE(ModelMetadataLookupCustomMetadataMap, 116);
LOGITCACHE_PLACE(ReleaseModelMetadata, 118);

#endif
