// swift-tools-version: 6.2
import PackageDescription

// One target per room; arrows point down only (docs/ARCHITECTURE.md).
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]

/// A door to a C library: a module map and a header, nothing else.
func door(_ name: String, pkgConfig: String, debian: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([debian])])
}

func room(
  _ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil,
  resources: [Resource]? = nil
) -> Target {
  .target(
    name: name, dependencies: dependencies, path: path, resources: resources,
    swiftSettings: settings)
}

func tests(
  of name: String, _ dependencies: [Target.Dependency], exclude: [String] = [],
  resources: [Resource]? = nil
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: dependencies + ["TestSupport"], exclude: exclude,
    resources: resources, swiftSettings: settings)
}

let package = Package(
  name: "LogitCache",
  products: [
    .library(name: "LogitCache", targets: ["LogitCache"]),
    .library(name: "Losses", targets: ["Losses"]),
    .executable(name: "logitcache", targets: ["logitcache"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // Doors to C, and the typed modules that alone import them.
    door("COpenBLAS", pkgConfig: "openblas", debian: "libopenblas-dev"),
    door("CLMDB", pkgConfig: "lmdb", debian: "liblmdb-dev"),
    door("CZstd", pkgConfig: "libzstd", debian: "libzstd-dev"),
    door("CZlib", pkgConfig: "zlib", debian: "zlib1g-dev"),
    door("CFreeType", pkgConfig: "freetype2", debian: "libfreetype-dev"),
    door("CJPEG", pkgConfig: "libjpeg", debian: "libjpeg62-turbo-dev"),
    door("CPNG", pkgConfig: "libpng", debian: "libpng-dev"),
    .systemLibrary(name: "CONNXRuntime"),  // declarations only: opened while the program runs
    .systemLibrary(name: "CSpawn"),  // declarations only: of the C library
    room("BLAS", ["COpenBLAS"]),
    room("LMDB", ["CLMDB", "Basics"]),
    room("Compression", ["CZstd", "CZlib", "Basics"]),
    room("FreeType", ["CFreeType", "Basics"]),
    room("JPEG", ["CJPEG", "Basics"]),
    room("PNG", ["CPNG", "Basics"]),
    room("ONNXRuntime", ["CONNXRuntime", "Basics"]),
    room("ChildProcess", ["CSpawn", "Basics"]),

    // What every room may use.
    room("Basics", [.product(name: "Crypto", package: "swift-crypto")]),
    room(
      "Schemas", ["Basics", .product(name: "Yams", package: "Yams")], path: "schemas",
      resources: [
        .embedInCode("recipe.schema.json"), .embedInCode("teacher.schema.json"),
        .embedInCode("training.schema.json"), .embedInCode("inspect.schema.json"),
        .embedInCode("dataset.schema.json"), .embedInCode("plan.schema.json"),
        .embedInCode("status.schema.json"),
        .embedInCode("merge.schema.json"), .embedInCode("derive.schema.json"),
        .embedInCode("diff.schema.json"), .embedInCode("compact.schema.json"),
        .embedInCode("import.schema.json"), .embedInCode("export.schema.json"),
        .embedInCode("precompute.schema.json"), .embedInCode("evaluate.schema.json"),
        .embedInCode("verify.schema.json"), .embedInCode("machine.schema.json"),
        .embedInCode("train.schema.json"),
      ]),
    room("Arrays", ["Basics"]),

    // The product's rooms.
    room("DataSets", ["Arrays", "Basics", "Compression", "FreeType", "JPEG", "PNG", "Schemas"]),
    room("Views", ["Basics", "DataSets", "Schemas"]),
    room("Losses"),
    room("LogitCache", ["Basics", "BLAS", "Compression", "LMDB", "Losses"]),
    room("Networks", ["Arrays", "Basics", "BLAS"]),
    room(
      "Teachers",
      [
        "Basics", "BLAS", "ChildProcess", "Compression", "DataSets", "Losses", "Networks",
        "ONNXRuntime", "Schemas", "Views",
      ]),
    room("Reports", ["Basics", "DataSets", "LogitCache", "Losses", "Views"]),
    room(
      "Pipelines",
      [
        "Arrays", "Basics", "BLAS", "DataSets", "LogitCache", "Losses", "Networks", "Reports",
        "Schemas", "Teachers", "Views",
      ]),
    room(
      "Commands",
      [
        "Basics", "BLAS", "ChildProcess", "DataSets", "LogitCache", "Pipelines", "Reports",
        "Teachers",
        "Views",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(name: "logitcache", dependencies: ["Commands"], swiftSettings: settings),
    .executableTarget(
      name: "benchmarks",
      dependencies: [
        "Arrays", "Basics", "BLAS", "DataSets", "LogitCache", "Losses", "ONNXRuntime", "Pipelines",
        "Teachers", "Views", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks/Sources", swiftSettings: settings),

    .executableTarget(
      name: "fuzz", dependencies: ["Basics", "LogitCache", "Losses"], path: "Fuzz",
      exclude: ["corpus"], swiftSettings: settings),

    room("TestSupport", ["Arrays", "Basics"]),
    tests(of: "Basics", ["Basics"]),
    tests(of: "Schemas", ["Schemas", "Basics"]),
    tests(
      of: "Doors",
      ["BLAS", "ChildProcess", "LMDB", "Compression", "FreeType", "JPEG", "PNG", "Basics"]),
    tests(of: "ONNXRuntime", ["ONNXRuntime", "Arrays", "Basics"]),
    tests(of: "Arrays", ["Arrays", "Basics"]),
    tests(of: "DataSets", ["DataSets", "Arrays", "Basics", "Compression", "JPEG", "PNG"]),
    tests(of: "Views", ["Views", "DataSets", "Basics"], resources: [.copy("Golden")]),
    tests(of: "Losses", ["Losses", "Basics"], resources: [.copy("Vectors")]),
    tests(of: "LogitCache", ["LogitCache", "LMDB", "Losses", "Basics", "Compression"]),
    tests(of: "Networks", ["Networks", "Arrays", "Basics", "BLAS"]),
    tests(
      of: "Pipelines",
      [
        "Pipelines", "Teachers", "LogitCache", "DataSets", "Views", "Networks", "Losses", "Basics",
        "Arrays", "ONNXRuntime", "Reports", "Schemas",
      ]),
    tests(
      of: "Commands", ["Commands", "Schemas", "Basics", "Arrays", "LogitCache", "DataSets"],
      exclude: ["FaultyDisk"]),
  ]
)
