public import Basics

/// The JSON Schemas of the project, built into the program, and the files they describe.
public enum Schemas {
  /// A schema of the project; `schemas/NAME.schema.json` in the repository.
  public enum Name: String, CaseIterable, Sendable {
    /// How views are made.
    case recipe
    /// What a teacher is and where its weights are.
    case teacher
    /// How students are trained.
    case training
    /// What `inspect --json` prints.
    case inspect
    /// A data set in files of one's own.
    case dataset
    /// What `plan --json` prints.
    case plan
    /// What `status --json` prints.
    case status
    /// What `merge --json` prints.
    case merge
    /// What `derive --json` prints.
    case derive
    /// What `diff --json` prints.
    case diff
    /// What `compact --json` prints.
    case compact
    /// What `import --json` prints.
    case imported = "import"
    /// What `export --json` prints.
    case export
    /// What `precompute --json` prints.
    case precompute
    /// What `evaluate --json` prints.
    case evaluate
    /// What `verify --json` prints.
    case verify
    /// What `machine --json` prints.
    case machine
    /// A line of what `train --json` prints, and of `metrics.jsonl`.
    case train
  }

  /// The text of a schema.
  public static func text(of name: Name) -> String {
    let bytes =
      switch name {
      case .recipe: PackageResources.recipe_schema_json
      case .teacher: PackageResources.teacher_schema_json
      case .training: PackageResources.training_schema_json
      case .inspect: PackageResources.inspect_schema_json
      case .dataset: PackageResources.dataset_schema_json
      case .plan: PackageResources.plan_schema_json
      case .status: PackageResources.status_schema_json
      case .merge: PackageResources.merge_schema_json
      case .derive: PackageResources.derive_schema_json
      case .diff: PackageResources.diff_schema_json
      case .compact: PackageResources.compact_schema_json
      case .imported: PackageResources.import_schema_json
      case .export: PackageResources.export_schema_json
      case .precompute: PackageResources.precompute_schema_json
      case .evaluate: PackageResources.evaluate_schema_json
      case .verify: PackageResources.verify_schema_json
      case .machine: PackageResources.machine_schema_json
      case .train: PackageResources.train_schema_json
      }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Checks a document.
  ///
  /// - Parameter source: names the document in errors, usually its path.
  /// - Throws: `Problem(.configuration)` that lists everything wrong with it, each with its place.
  public static func validate(
    _ value: JSONValue, against name: Name, source: String
  ) throws {
    try compiled[name]!.validate(value, source: source)
  }

  /// Reads a YAML (or JSON) file and checks it.
  ///
  /// - Throws: `Problem(.noInput)` when it cannot be read, `Problem(.configuration)` when it is not
  ///   YAML, names something twice, or does not fit the schema.
  public static func load(yamlAt path: String, as name: Name) throws -> JSONValue {
    let value = try parseYAML(try Files.read(path), source: path)
    try validate(value, against: name, source: path)
    return value
  }

  private static let compiled: [Name: Schema] = Dictionary(
    uniqueKeysWithValues: Name.allCases.map { name in
      let source = "\(name.rawValue).schema.json"
      guard let document = try? parseJSON(text(of: name).utf8, source: source) else {
        preconditionFailure("\(source) is not JSON")
      }
      return (name, Schema(document, source: source))
    })
}
