import Basics
public import DataSets
import Schemas

/// Opens the teacher that a configuration file describes (`schemas/teacher.schema.json`).
///
/// - Parameters:
///   - dataSet: whose views the teacher will see, and whose classes it may be restricted to.
///   - onnxRuntime: where the command line says that ONNX Runtime's library is: a file or a folder.
/// - Throws: `Problem` naming the file and what is wrong with it.
public func openTeacher(
  configuration path: String, for dataSet: any DataSet, onnxRuntime: String? = nil
) throws -> any Teacher {
  let configuration = try Schemas.load(yamlAt: path, as: .teacher)
  if configuration["kind"]?.string == "onnx" {
    return try ONNXTeacher(
      configuration: configuration, path: path, inputShape: dataSet.shape,
      classNames: dataSet.classNames, positions: dataSet.positions, library: onnxRuntime)
  }
  if configuration["kind"]?.string == "worker" {
    return try WorkerTeacher(
      configuration: configuration, path: path, inputShape: dataSet.shape,
      classNames: dataSet.classNames, positions: dataSet.positions)
  }
  let weights = Files.path(configuration["weights"]?.string ?? "", relativeTo: path)
  return try NativeTeacher(
    weightsPath: weights, batchSize: configuration["batch"]?.integer ?? 64,
    inputShape: dataSet.shape, positions: dataSet.positions)
}
