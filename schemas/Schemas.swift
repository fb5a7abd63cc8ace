/// The JSON Schemas of the project, built into the program.
public enum Schemas {
}
