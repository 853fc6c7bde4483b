import { crashMatrix } from './leases/suite.ts';

crashMatrix('postgresql');
