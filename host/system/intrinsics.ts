/**
 * Makes the built-in functions that keys and decisions pass through unchangeable, before any package of others is loaded:
 * a package may still call them, none can put its own in their place. What a package does by itself in this process it
 * can do anyway (THREAT-MODEL.md): this is against quiet patches, not against hostile code.
 *
 * Prototypes whose members are commonly assigned on instances (Error, Promise, Function, Object) are left writable: a
 * frozen `name` or `toString` there forbids the assignment on every instance too.
 */
import { Buffer } from 'node:buffer';

/** Not among the types that this program is compiled with. */
const Wasm = Reflect.get(globalThis, 'WebAssembly') as {
  readonly Instance: object;
  readonly Module: object;
  readonly Memory: { readonly prototype: object };
};
const TypedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;

const LOCKED: readonly object[] = [
  JSON,
  Math,
  Reflect,
  Wasm,
  Wasm.Instance,
  Wasm.Module,
  Wasm.Memory.prototype,
  Object,
  Array,
  ArrayBuffer,
  ArrayBuffer.prototype,
  Uint8Array,
  Uint8Array.prototype,
  TypedArray,
  DataView.prototype,
  BigInt,
  Number,
  String,
  Buffer,
  Map.prototype,
  Set.prototype,
  WeakMap.prototype,
];

/** Global names that must go on meaning what they mean. */
const NAMES = [
  'JSON',
  'Math',
  'Reflect',
  'WebAssembly',
  'Uint8Array',
  'ArrayBuffer',
  'DataView',
  'Map',
  'Set',
] as const;

export function lockIntrinsics(): void {
  for (const holder of LOCKED) {
    for (const key of Reflect.ownKeys(holder)) {
      const property = Reflect.getOwnPropertyDescriptor(holder, key);
      if (property === undefined || !property.configurable || key === 'constructor') continue;
      if ('value' in property && typeof property.value !== 'function') continue;
      Reflect.defineProperty(holder, key, {
        configurable: false,
        ...('value' in property ? { writable: false } : {}),
      });
    }
  }
  for (const name of NAMES) Reflect.defineProperty(globalThis, name, { configurable: false, writable: false });
  // No body, no package can teach every object a new member (`__proto__` in JSON, merges of unknown keys).
  Reflect.preventExtensions(Object.prototype);
}
