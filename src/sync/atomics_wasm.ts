// Made of src/sync/assembly/atomics.ts by `deno task assemble`: do not edit.
// deno-fmt-ignore-file
/** The WebAssembly module, 219 bytes, in base64. */
export const WASM: string =
  "AGFzbQEAAAABGARgAn9/AX9gAn9/AGABfwF/YAN/f38BfwISAQNlbnYGbWVtb3J5AgMBgIAEAwYFAQIAAwAHUgYIbG9hZFdvcmQAAQlzdG9yZVdvcmQAAAxl" +
  "eGNoYW5nZVdvcmQAAhNjb21wYXJlRXhjaGFuZ2VXb3JkAAMJYWRkVG9Xb3JkAAQGbWVtb3J5AgAKRwUNACAAQQJ0IAH+FwIACwsAIABBAnT+EAIACw0AIABB" +
  "AnQgAf5BAgALDwAgAEECdCABIAL+SAIACw0AIABBAnQgAf4eAgAL";
