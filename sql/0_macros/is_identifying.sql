-- Whether a value may identify a person, so that lists of what an archive holds show no example.
--
-- `is_identifying` knows the attributes of PS3.15 Table E.1-1 (Basic Application Level
-- Confidentiality Profile), whatever their action, and withholds besides: the whole group of the
-- patient, names, ages, dates and times, addresses, free text, comments, descriptions and IDs, UIDs
-- but those of classes and syntaxes, private elements and elements that no dictionary knows.
-- `is_identifying_path` knows the sequences of that table, whose items are not shown either, nor
-- those of private sequences.
--
-- example: select is_identifying('00100010', 'PatientName', 'PN') as is_hidden
create or replace macro is_identifying(tag, keyword, vr) as
    keyword is null
    or vr in ('AE', 'AS', 'DA', 'DT', 'LT', 'PN', 'ST', 'TM', 'UC', 'UN', 'UR', 'UT')
    or instr('13579BDF', tag[4]) > 0
    or tag[:4] = '0010'
    or tag[:2] in ('50', '60')
    -- All UIDs but those of the standard: the table names most that tell an object, not all.
    or (
        vr = 'UI' and not regexp_matches(
            keyword, 'SOPClass|TransferSyntax'
            || '|^(ContextUID|MappingResourceUID|CodingSchemeUID|ImplementationClassUID)$'
        )
    )
    -- What somebody typed or numbered, whatever the table says.
    or (
        vr in ('LO', 'SH') and regexp_matches(
            keyword, 'Comment|Notes|Contact|OrderNumber|Owner|UserGroup|Itinerary|Welder'
            || '|(Creator|Description|DescriptionTrial|IDs?)$'
        )
    )
    -- Names of files and file sets are what somebody typed.
    or tag in ('00041130', '00041141', '00041500')
    or tag in (
        '00001000', '00001001', '00020003', '00041511', '00080012', '00080013', '00080014', '00080015', '00080017',
        '00080018', '00080019', '00080020', '00080021', '00080022', '00080023', '00080024', '00080025', '0008002A',
        '00080030', '00080031', '00080032', '00080033', '00080034', '00080035', '00080050', '00080054', '00080055',
        '00080058', '00080080', '00080081', '00080082', '00080090', '00080092', '00080094', '00080096', '0008009C',
        '0008009D', '00080106', '00080107', '00080201', '00081000', '00081010', '00081030', '0008103E', '00081040',
        '00081041', '00081048', '00081049', '00081050', '00081052', '00081060', '00081062', '00081070', '00081072',
        '00081080', '00081084', '00081088', '00081110', '00081111', '00081120', '00081140', '00081155', '00081195',
        '00082111', '00082112', '00083010', '00084000', '00100010', '00100020', '00100021', '00100030', '00100032',
        '00100040', '00100050', '00100101', '00100102', '00101000', '00101001', '00101002', '00101005', '00101010',
        '00101020', '00101030', '00101040', '00101050', '00101060', '00101080', '00101081', '00101090', '00101100',
        '00102000', '00102110', '00102150', '00102152', '00102154', '00102155', '00102160', '00102180', '001021A0',
        '001021B0', '001021C0', '001021D0', '001021F0', '00102203', '00102297', '00102299', '00104000', '00120010',
        '00120020', '00120021', '00120022', '00120023', '00120030', '00120031', '00120032', '00120040', '00120041',
        '00120042', '00120043', '00120050', '00120051', '00120055', '00120060', '00120071', '00120072', '00120073',
        '00120081', '00120082', '00120086', '00120087', '0014407C', '0014407E', '0016002B', '0016004B', '0016004D',
        '0016004E', '0016004F', '00160050', '00160051', '00160070', '00160071', '00160072', '00160073', '00160074',
        '00160075', '00160076', '00160077', '00160078', '00160079', '0016007A', '0016007B', '0016007C', '0016007D',
        '0016007E', '0016007F', '00160080', '00160081', '00160082', '00160083', '00160084', '00160085', '00160086',
        '00160087', '00160088', '00160089', '0016008A', '0016008B', '0016008C', '0016008D', '0016008E', '00180010',
        '00180027', '00180035', '00181000', '00181002', '00181004', '00181005', '00181007', '00181008', '00181009',
        '0018100A', '0018100B', '00181012', '00181014', '00181030', '00181042', '00181043', '00181072', '00181073',
        '00181078', '00181079', '001811BB', '00181200', '00181201', '00181202', '00181203', '00181204', '00181205',
        '00181400', '00182042', '00184000', '00185011', '0018700A', '0018700C', '0018700E', '00189074', '00189151',
        '00189185', '00189367', '00189369', '0018936A', '00189371', '00189373', '0018937B', '0018937F', '00189424',
        '00189516', '00189517', '00189623', '00189701', '00189804', '00189919', '00189937', '0018A002', '0018A003',
        '0020000D', '0020000E', '00200010', '00200027', '00200052', '00200200', '00203401', '00203403', '00203405',
        '00203406', '00204000', '00209158', '00209161', '00209164', '00281199', '00281214', '00284000', '00320012',
        '00320032', '00320033', '00320034', '00320035', '00321000', '00321001', '00321010', '00321011', '00321020',
        '00321021', '00321030', '00321032', '00321033', '00321040', '00321041', '00321050', '00321051', '00321060',
        '00321066', '00321067', '00321070', '00324000', '00340001', '00340002', '00340005', '00340007', '00380004',
        '00380010', '00380011', '00380014', '0038001A', '0038001B', '0038001C', '0038001D', '0038001E', '00380020',
        '00380021', '00380030', '00380032', '00380040', '00380050', '00380060', '00380061', '00380062', '00380064',
        '00380300', '00380400', '00380500', '00384000', '003A0310', '003A0314', '003A0329', '003A032B', '00400001',
        '00400002', '00400003', '00400004', '00400005', '00400006', '00400007', '00400009', '0040000B', '00400010',
        '00400011', '00400012', '00400241', '00400242', '00400243', '00400244', '00400245', '00400250', '00400251',
        '00400253', '00400254', '00400275', '00400280', '00400310', '0040050A', '00400512', '00400513', '0040051A',
        '00400551', '00400554', '00400555', '00400562', '00400600', '00400602', '00400610', '004006FA', '00401001',
        '00401002', '00401004', '00401005', '0040100A', '00401010', '00401011', '00401101', '00401102', '00401103',
        '00401104', '00401400', '00402001', '00402004', '00402005', '00402008', '00402009', '00402010', '00402011',
        '00402016', '00402017', '00402400', '00403001', '00404005', '00404008', '00404010', '00404011', '00404023',
        '00404025', '00404027', '00404028', '00404030', '00404034', '00404035', '00404036', '00404037', '00404050',
        '00404051', '00404052', '0040A023', '0040A024', '0040A027', '0040A030', '0040A032', '0040A033', '0040A073',
        '0040A075', '0040A078', '0040A07A', '0040A07C', '0040A082', '0040A088', '0040A110', '0040A112', '0040A120',
        '0040A121', '0040A122', '0040A123', '0040A124', '0040A13A', '0040A171', '0040A172', '0040A192', '0040A193',
        '0040A307', '0040A352', '0040A353', '0040A354', '0040A358', '0040A402', '0040A730', '0040DB06', '0040DB07',
        '0040DB0C', '0040DB0D', '0040E004', '00420011', '00440004', '0044000B', '00440010', '00440104', '00440105',
        '0050001B', '00500020', '00500021', '00620021', '00640003', '00686226', '00686270', '006A0003', '006A0005',
        '006A0006', '00700001', '00700082', '00700083', '00700084', '00700086', '0070031A', '00701101', '00701102',
        '0072000A', '0072005E', '0072005F', '00720061', '00720063', '00720065', '00720066', '00720068', '0072006A',
        '0072006B', '0072006C', '0072006D', '0072006E', '00720070', '00720071', '00741234', '00741236', '00880140',
        '00880200', '00880904', '00880906', '00880910', '00880912', '01000420', '04000100', '04000105', '04000115',
        '04000310', '04000402', '04000403', '04000404', '04000550', '04000551', '04000552', '04000561', '04000562',
        '04000563', '04000564', '04000565', '04000600', '20300020', '21000040', '21000050', '21000070', '21000140',
        '22000002', '22000005', '30020121', '30020123', '30060002', '30060004', '30060006', '30060008', '30060009',
        '30060024', '30060026', '30060028', '3006002D', '3006002E', '30060038', '3006004D', '3006004E', '30060085',
        '30060088', '300600A6', '300600C2', '30080024', '30080025', '30080054', '30080056', '30080105', '30080162',
        '30080164', '30080166', '30080168', '30080250', '30080251', '300A0002', '300A0003', '300A0004', '300A0006',
        '300A0007', '300A000B', '300A000E', '300A0013', '300A0016', '300A0072', '300A0083', '300A00B2', '300A00C3',
        '300A00DD', '300A0196', '300A01A6', '300A01B2', '300A0216', '300A022C', '300A022E', '300A02EB', '300A0608',
        '300A0609', '300A0611', '300A0615', '300A0619', '300A0623', '300A062A', '300A0650', '300A0676', '300A067C',
        '300A067D', '300A0700', '300A0734', '300A0736', '300A073A', '300A0741', '300A0742', '300A0760', '300A0783',
        '300A0785', '300A078E', '300A0792', '300A0794', '300A079A', '300C0113', '300C0127', '300E0004', '300E0005',
        '300E0008', '30100006', '3010000B', '3010000F', '30100013', '30100015', '30100017', '3010001B', '3010002D',
        '30100031', '30100033', '30100034', '30100035', '30100036', '30100037', '30100038', '3010003B', '30100043',
        '3010004C', '3010004D', '30100054', '30100056', '3010005A', '3010005C', '30100061', '3010006E', '3010006F',
        '30100077', '3010007A', '3010007B', '3010007F', '30100081', '30100085', '40000010', '40004000', '40080040',
        '40080042', '40080100', '40080101', '40080102', '40080108', '40080109', '4008010A', '4008010B', '4008010C',
        '40080111', '40080112', '40080113', '40080114', '40080115', '40080118', '40080119', '4008011A', '40080200',
        '40080202', '40080300', '40084000', 'FFFAFFFA', 'FFFCFFFC'
    );
create or replace macro is_identifying_path(path) as
    regexp_matches(path, '(^|\.)[0-9A-F]{8}\[')
    or list_has_any(string_split(regexp_replace(path, '\[\d+\]', '', 'g'), '.'), [
        'AcquisitionContextSequence', 'ActualHumanPerformersSequence',
        'AdmittingDiagnosesCodeSequence', 'AuthorObserverSequence',
        'ConsultingPhysicianIdentificationSequence', 'ContentCreatorIdentificationCodeSequence',
        'ContentSequence', 'CustodialOrganizationSequence',
        'DigitalSignaturesSequence', 'FlowIdentifierSequence',
        'GraphicAnnotationSequence', 'IconImageSequence',
        'InstitutionCodeSequence', 'InstitutionalDepartmentTypeCodeSequence',
        'IntendedRecipientsOfResultsIdentificationSequence', 'InterpretationApproverSequence',
        'IssuerOfAdmissionIDSequence', 'IssuerOfServiceEpisodeIDSequence',
        'IssuerOfTheContainerIdentifierSequence', 'IssuerOfTheSpecimenIdentifierSequence',
        'ModifiedAttributesSequence', 'NonconformingModifiedAttributesSequence',
        'OperatorIdentificationSequence', 'OriginalAttributesSequence',
        'OtherClinicalTrialProtocolIDsSequence', 'OtherPatientIDsSequence',
        'ParticipantSequence', 'PatientInsurancePlanCodeSequence',
        'PatientPrimaryLanguageCodeSequence', 'PatientPrimaryLanguageModifierCodeSequence',
        'PerformedStationGeographicLocationCodeSequence', 'PerformedStationNameCodeSequence',
        'PerformingPhysicianIdentificationSequence', 'PersonIdentificationCodeSequence',
        'PhysiciansOfRecordIdentificationSequence', 'PhysiciansReadingStudyIdentificationSequence',
        'PrescriptionNotesSequence', 'ROICreatorSequence',
        'ROIInterpreterSequence', 'ReasonForRequestedProcedureCodeSequence',
        'ReasonForVisitCodeSequence', 'ReferencedDigitalSignatureSequence',
        'ReferencedImageSequence', 'ReferencedPatientAliasSequence',
        'ReferencedPatientPhotoSequence', 'ReferencedPatientSequence',
        'ReferencedPerformedProcedureStepSequence', 'ReferencedSOPInstanceMACSequence',
        'ReferencedStudySequence', 'ReferringPhysicianIdentificationSequence',
        'RequestAttributesSequence', 'ResultsDistributionListSequence',
        'ScheduledHumanPerformersSequence', 'ScheduledPerformingPhysicianIdentificationSequence',
        'ScheduledStationGeographicLocationCodeSequence', 'ScheduledStationNameCodeSequence',
        'SourceImageSequence', 'SpecimenPreparationSequence',
        'TransducerIdentificationSequence', 'UDISequence',
        'VerbalSourceIdentifierCodeSequenceTrial', 'VerifyingObserverIdentificationCodeSequence',
        'VerifyingObserverSequence'
    ]);
