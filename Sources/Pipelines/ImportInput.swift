import Arrays
import Basics
import DataSets
import LogitCache
import Teachers
import Views

/// The files of an import, open and found to fit together.
struct ImportInput: Sendable {
  let layout: ImportLayout
  private let rows: Rows
  private let labels: ImportLabels
  private let positions: Positions?
  private let dataSet: DataSetIdentity
  private let classes: Int
  /// Renders the views that the teacher saw; `nil` when nobody knows them.
  private let augmenter: Augmenter?

  fileprivate enum Rows: Sendable {
    case full(values: ArrayFile, kind: OutputKind, features: ArrayFile?)
    case sparse(SparseArrays)
  }

  /// - Throws: `Problem` naming the file, or both files, and the numbers that do not fit.
  init(_ job: ImportJob) throws {
    let dataSet = try job.views.map { try openDataSetWithProgress($0.data) }
    (rows, layout) = try ImportInput.open(job)
    let (first, samples) = (rows.files[0], layout.samples)
    if let dataSet, dataSet.count != samples {
      throw Problem(
        .corrupt,
        "\(first.name) has \(samples) samples, data set \(dataSet.name) has \(dataSet.count)")
    }
    let classNames = try ImportInput.classNames(job, dataSet, rows)
    classes = classNames.count
    labels = try ImportLabels(job, dataSet, samples: samples, classes: classes, first)
    positions = try labels.positions(job.positions, layout, first)
    if positions != nil, rows.hasFeatures {
      throw Problem(
        .usage,
        "--features are kept of one record per view: leave them out where rows have positions")
    }
    self.dataSet =
      dataSet.map {
        DataSetIdentity(
          name: $0.name, fingerprint: $0.fingerprint, labels: $0.labels, positions: $0.positions,
          classNames: $0.classNames)
      }
      ?? DataSetIdentity(
        importedRows: job.name ?? "imported rows", labels: labels.values,
        positions: labels.positions, classNames: classNames)
    if let dataSet, let views = job.views {
      let recipe = try views.recipe.map { try Recipe(contentsOf: $0) } ?? .identity
      augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: views.seed)
    } else {
      augmenter = nil
    }
  }

  /// Whether only the best classes of rows are known.
  var isSparse: Bool { if case .sparse = rows { true } else { false } }

  /// Refuses files that were changed since they were opened.
  func demandUnchanged() throws {
    for file in rows.files + (layout.places?.named.map(\.file) ?? []) {
      try file.demandUnchanged()
    }
  }

  /// What makes the blocks.
  func work(_ job: ImportJob) throws -> BlockWork {
    let encoding = try encoding(job)
    let recipe = augmenter.map {
      RecipeIdentity(digest: $0.recipe.digest, content: $0.recipe.canonical)
    }
    let manifest = Manifest(
      dataSet: dataSet, recipe: recipe ?? .unknown, seed: augmenter?.seed ?? 0,
      views: layout.views, teacher: try identity(job), encoding: encoding)
    let views = ImportedViews(augmenter: augmenter)
    let (layout, labels) = (layout, labels.values)
    switch rows {
    case .full(let values, let kind, let features):
      return try BlockWork(manifest, labels: labels) {
        let rows = ImportedRows(
          values, kind, features: features, layout, views, manifest.encoding, labels: labels)
        let blocks = RowBlocks(manifest, rows: rows)
        return NamedBlocks(name: values.name, source: blocks)
      }
    case .sparse(let arrays):
      return try BlockWork(manifest, labels: labels) {
        let blocks = SparseBlocks(arrays, layout, views, manifest, labels: labels)
        return NamedBlocks(name: arrays.ids.name, source: blocks)
      }
    }
  }

  private func encoding(_ job: ImportJob) throws -> Encoding {
    switch rows {
    case .full(_, _, let features):
      return Encoding(
        classes: classes, k: try job.kept.headClasses(of: classes),
        featureWidth: features?.shape.last, subspaceTail: job.kept.tail, ranking: job.kept.ranking,
        positions: positions)
    case .sparse(let arrays):
      guard job.kept.tail == nil, job.kept.ranking == nil else {
        throw Problem(
          .usage, "--tail subspace and --ranking full need full rows: import them with --logits")
      }
      let k = job.kept.k ?? arrays.width
      guard (1...arrays.width).contains(k) else {
        throw Problem(
          .usage,
          "--k is \(k), it must be in 1...\(arrays.width), the ids of a row in \(arrays.ids.name)"
        )
      }
      return Encoding(
        classes: classes, k: k, temperatures: SparseMeter.temperatures(k: k, classes: classes),
        positions: positions)
    }
  }
}

extension ImportInput.Rows {
  /// All files that decide records; the first one's shape is that of the others.
  fileprivate var files: [ArrayFile] {
    switch self {
    case .full(let values, _, let features): [values] + (features.map { [$0] } ?? [])
    case .sparse(let arrays): arrays.named.map(\.file)
    }
  }

  fileprivate var hasFeatures: Bool {
    if case .full(_, _, .some) = self { true } else { false }
  }
}

// Opening and checking.
extension ImportInput {
  private static func open(_ job: ImportJob) throws -> (Rows, ImportLayout) {
    switch job.rows {
    case .full(let name, let kind, let features):
      let values = try ArrayFile(name)
      let layout = try ImportLayout(of: values, viewsFirst: job.viewsFirst, job.positions)
      try values.demand(isIndex: false)
      if kind == nil { try refuseProbabilities(in: values) }
      let features = try features.map {
        try layout.open($0, rowAxes: nil, isIndex: false, beside: values)
      }
      return (.full(values: values, kind: kind ?? .logits, features: features), layout)
    case .sparse(let files):
      let (arrays, layout) = try SparseArrays.open(
        files, viewsFirst: job.viewsFirst, job.positions)
      return (.sparse(arrays), layout)
    }
  }

  /// The names of the C classes, found to be as many as everything else says.
  private static func classNames(
    _ job: ImportJob, _ dataSet: (any DataSet)?, _ rows: Rows
  ) throws -> [String] {
    var counts: [(count: Int, source: String)] = []
    var names = dataSet?.classNames
    if let dataSet { counts.append((dataSet.classNames.count, "data set \(dataSet.name)")) }
    if let path = job.classNames {
      let read = try readNames(path)
      names = read
      counts.append((read.count, path))
    }
    switch rows {
    case .full(let values, _, _): counts.append((values.shape.last ?? 0, values.name))
    case .sparse(let arrays):
      if let classes = arrays.classes { counts.append((classes, "--classes")) }
      guard let first = counts.first else {
        throw Problem(
          .usage,
          "sparse rows do not say how many classes there are: give --classes or --class-names")
      }
      guard arrays.width <= first.count else {
        throw Problem(
          .corrupt,
          "\(arrays.ids.name) has \(counted(arrays.width, "id")) of a row, \(first.source) has "
            + counted(first.count, "class", "classes")
        )
      }
    }
    for other in counts.dropFirst() where other.count != counts[0].count {
      throw Problem(
        .corrupt,
        "\(counts[0].source) has \(counted(counts[0].count, "class", "classes")), \(other.source) has \(other.count)"
      )
    }
    guard counts[0].count <= 1 << 24 else {
      throw Problem(
        .usage,
        "\(counts[0].source) has \(counts[0].count) classes; at most \(1 << 24) can be cached")
    }
    return names ?? (0..<counts[0].count).map { "class \($0)" }
  }

  /// Reads a file with one name a line.
  private static func readNames(_ path: String) throws -> [String] {
    let names = try lines(of: path)
    if let line = names.firstIndex(of: "") {
      throw Problem(
        .corrupt, "\(path): line \(line + 1) is empty: one class name a line is expected")
    }
    return names
  }
}

// The teacher's identity.
extension ImportInput {
  /// What decides the records: the content of the files, and how it is read.
  ///
  /// - Throws: `Problem(.interrupted)`.
  private func identity(_ job: ImportJob) throws -> JSONValue {
    var members: [String: JSONValue] = [
      "kind": .string("import"), "axes": .string(layout.name),
    ]
    members["name"] = job.teacherName.map { .string($0) }
    for (name, file) in layout.places?.named ?? [] { members[name] = try content(of: file) }
    switch rows {
    case .full(let values, let kind, let features):
      members["rows"] = try content(of: values)
      members["features"] = try features.map { try content(of: $0) }
      members["output"] = .object([
        "kind": .string(kind.rawValue),
        "floor": .string("\(LogitConversion(kind, source: "", setting: "").floor)"),
      ])
    case .sparse(let arrays):
      members["sparse"] = .object(
        Dictionary(
          uniqueKeysWithValues: try arrays.named.map { ($0.name, try content(of: $0.file)) }))
    }
    return .object(members)
  }

  private func content(of file: ArrayFile) throws -> JSONValue {
    let megabytes = 1 << 20
    var progress: ProgressLine?
    defer { progress?.clear() }
    let digest = try file.digest { done, total in
      if progress == nil {
        progress = ProgressLine("digest", unit: "MiB", plural: "MiB", total: total / megabytes)
      }
      progress?.update(done: done / megabytes)
      if Interruption.isRequested {
        throw Interruption.problem(after: "\(done / megabytes) MiB of \(file.name)")
      }
    }
    return .object(["digest": .string(digest.description), "elements": .string(file.typeName)])
  }
}
